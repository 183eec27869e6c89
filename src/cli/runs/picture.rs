//! What the time of a run went to, as a picture (SVG): a row for each node, a bar for each stretch of time. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use fleetward_wire::workflows::{RunTimeline, Span};

const ROW: f64 = 26.0;
const LEFT: f64 = 220.0;
const WIDTH: f64 = 900.0;
const TOP: f64 = 64.0;
/// Words, colours, and what they mean, in the order of the legend.
const KINDS: [(&str, &str, &str); 8] = [
    ("queued", "#c9c9c9", "waits for a worker"),
    ("running", "#2b7bba", "runs"),
    ("step", "#174a73", "does a step of a function"),
    ("back_off", "#e8a33d", "backs off"),
    ("approval", "#8e5fb0", "waits for people"),
    ("timer", "#9fc5a8", "sleeps"),
    ("signal", "#5aa7a7", "waits for a signal"),
    ("child", "#b77a6a", "waits for another run"),
];

/// Draws a timeline.
pub(super) fn svg(told: &RunTimeline) -> String {
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for span in &told.spans {
        let next = rows.len();
        rows.entry(&span.key).or_insert(next);
    }
    let whole = told.spans.iter().map(|span| span.from + span.seconds).fold(0.001, f64::max);
    let height = TOP + ROW * rows.len() as f64 + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"15\">{} ({})</text>\n",
        LEFT + WIDTH + 20.0,
        escaped(&told.run_id),
        escaped(&told.status),
    );
    let mut x = 10.0;
    for (word, colour, means) in KINDS {
        if told.spans.iter().any(|span| span.what == word) {
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"32\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"42\">{means}</text>",
                x + 16.0
            );
            x += 40.0 + 7.0 * means.len() as f64;
        }
    }
    for (key, row) in &rows {
        let y = TOP + ROW * *row as f64;
        let _ = writeln!(svg, "<text x=\"10\" y=\"{}\">{}</text>", y + 15.0, escaped(&cut(key)));
    }
    for span in &told.spans {
        let y = TOP + ROW * rows[span.key.as_str()] as f64;
        svg += &bar(span, y, whole);
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{0}\">0 s</text><text x=\"{1}\" y=\"{0}\" text-anchor=\"end\">{whole:.3} s</text>",
        height - 14.0,
        LEFT + WIDTH
    );
    svg + "</svg>\n"
}

fn bar(span: &Span, y: f64, whole: f64) -> String {
    let colour = KINDS.iter().find(|kind| kind.0 == span.what).map_or("#000000", |kind| kind.1);
    let (x, width) = (LEFT + WIDTH * span.from / whole, (WIDTH * span.seconds / whole).max(1.0));
    let attempt = span.attempt.map_or(String::new(), |attempt| format!(", attempt {attempt}"));
    format!(
        "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"><title>{}: {}{attempt}, {:.3} s</title></rect>\n",
        escaped(&span.key),
        span.what,
        span.seconds
    )
}

fn cut(key: &str) -> String {
    let most = 30;
    if key.chars().count() <= most {
        return key.to_owned();
    }
    key.chars().take(most - 1).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_a_row_and_each_stretch_a_bar() {
        let span = |key: &str, what: &str, from: f64, seconds: f64| Span {
            key: key.into(),
            what: what.into(),
            from,
            seconds,
            attempt: None,
            worker_id: None,
        };
        let told = RunTimeline {
            run_id: "a<b".into(),
            status: "completed".into(),
            events: Vec::new(),
            spans: vec![span("draft", "queued", 0.0, 1.0), span("draft", "running", 1.0, 3.0)],
        };

        let svg = svg(&told);

        assert_eq!(svg.matches("<title>").count(), 2);
        assert_eq!(svg.matches(">draft</text>").count(), 1);
        assert!(svg.contains("a&lt;b") && svg.contains("4.000 s"), "{svg}");
    }
}
