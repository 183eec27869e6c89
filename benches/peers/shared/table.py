"""Medians over the repeats, as a table and as JSON lines."""

import json
import statistics

COLUMNS = (
    ("peer", "peer", "{}"),
    ("version", "version", "{}"),
    ("mode", "mode", "{}"),
    ("jobs", "jobs", "{:,}"),
    ("tasks/s", "tasks_per_second", "{:,.0f}"),
    ("runs/s", "runs_per_second", "{:,.0f}"),
    ("lowest", "lowest", "{:,.0f}"),
    ("highest", "highest", "{:,.0f}"),
    ("p50 ms", "p50_ms", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.2f}"),
    ("result p50 ms", "start_to_result_p50_ms", "{:.2f}"),
    ("result p99 ms", "start_to_result_p99_ms", "{:.2f}"),
    ("enqueued/s", "enqueued_per_second", "{:,.0f}"),
    ("database us/task", "database_cpu_us_per_task", "{:,.0f}"),
    ("server us/run", "server_us_per_run", "{:,.0f}"),
    ("database us/run", "database_us_per_run", "{:,.0f}"),
    ("worker us/run", "worker_us_per_run", "{:,.0f}"),
    ("client us/run", "client_us_per_run", "{:,.0f}"),
    ("load", "load", "{:.1f}"),
    ("failed", "failed", "{}"),
)
RATES = ("tasks_per_second", "runs_per_second")
MEASURED = (
    *RATES,
    "p50_ms",
    "p99_ms",
    "max_ms",
    "start_to_result_p50_ms",
    "start_to_result_p99_ms",
    "enqueued_per_second",
    "database_cpu_us_per_task",
    "server_us_per_run",
    "database_us_per_run",
    "worker_us_per_run",
    "client_us_per_run",
    "load",
)


def median_row(first, outcomes):
    """One row of the table: what is the same in all repeats, and the medians of what was
    measured.
    """
    row = {**first, "jobs": outcomes[0].get("jobs"), "repeats": len(outcomes)}
    for name in MEASURED:
        values = [outcome[name] for outcome in outcomes if outcome.get(name) is not None]
        if values:
            row[name] = statistics.median(values)
    rates = [outcome[name] for outcome in outcomes for name in RATES if name in outcome]
    if len(rates) > 1:
        row.update(lowest=min(rates), highest=max(rates))
    return row


def text(rows):
    shown = [
        ["" if row.get(key) is None else form.format(row[key]) for _, key, form in COLUMNS]
        for row in rows
    ]
    used = [index for index in range(len(COLUMNS)) if any(line[index] for line in shown)]
    lines = [[COLUMNS[index][0] for index in used], ["---"] * len(used)]
    lines += [[line[index] for index in used] for line in shown]
    widths = [max(len(line[column]) for line in lines) for column in range(len(used))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |"
        for line in lines
    )


def write(rows, path):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
