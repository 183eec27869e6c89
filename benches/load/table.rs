//! Figures side by side, as a table that Markdown and people can read. Pure.

use crate::figures::Rows;

/// One column for each run, one row for each figure that any of them has.
pub(crate) fn render(columns: &[(String, Rows)]) -> String {
    let mut lines = vec![row("", columns.iter().map(|(head, _)| head.clone()))];
    lines.push(row("---", columns.iter().map(|_| "---:".to_owned())));
    let names = columns.first().map(|(_, rows)| rows).into_iter().flatten().map(|(name, _)| name);
    for (at, name) in names.enumerate() {
        let texts = columns.iter().map(|(_, rows)| rows[at].1.clone());
        if texts.clone().any(|text| text != "-") {
            lines.push(row(name, texts));
        }
    }
    lines.join("\n")
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {name} | {} |", cells.join(" | "))
}
