//! Figures side by side, as a table that Markdown and people can read. Pure.

use crate::figures::Figures;

/// One column for each run, one row for each figure that any of them has.
pub(crate) fn render(columns: &[(String, Figures)]) -> String {
    let mut lines = vec![row("", columns.iter().map(|(head, _)| head.clone()))];
    lines.push(row("---", columns.iter().map(|_| "---:".to_owned())));
    let cells: Vec<Vec<(String, String)>> =
        columns.iter().map(|(_, figures)| figures.rows()).collect();
    let names = cells.first().into_iter().flatten().map(|(name, _)| name);
    for (at, name) in names.enumerate() {
        let texts = cells.iter().map(|column| column[at].1.clone());
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
