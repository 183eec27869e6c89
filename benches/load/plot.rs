//! Throughput and latency against workers and against the backlog, as one SVG file. Pure.

use std::fmt::Write;

use crate::figures::Figures;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 320.0;
/// Around each of the two charts, for what is written there.
const MARGIN: f64 = 64.0;
const THROUGHPUT: &str = "#1668b8";
const LATENCY: &str = "#c2481b";

/// A point of a chart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    x: f64,
    throughput: f64,
    latency_ms: f64,
}

impl Point {
    /// What a run says at `x`; its latency is the p99 of the report, which no queue lengthens.
    pub(crate) fn of(x: f64, figures: &Figures) -> Self {
        let latency_ms = figures.report.as_ref().map_or(0.0, |report| report.p99_ms);
        Self { x, throughput: figures.tasks_per_second, latency_ms }
    }
}

/// Two charts side by side.
pub(crate) fn render(title: &str, workers: &[Point], backlog: &[Point]) -> String {
    let (wide, high) = (2.0 * (WIDTH + 2.0 * MARGIN), HEIGHT + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, (wide / 2.0, 20.0), "middle", "#222", title);
    chart(&mut svg, MARGIN, "workers", workers);
    chart(&mut svg, WIDTH + 3.0 * MARGIN, "tasks waiting", backlog);
    svg.push_str("</svg>\n");
    svg
}

fn chart(svg: &mut String, left: f64, name: &str, points: &[Point]) {
    let (top, bottom) = (MARGIN, MARGIN + HEIGHT);
    let most = |of: fn(&Point) -> f64| round_up(points.iter().map(of).fold(0.0, f64::max));
    let (throughput, latency) = (most(|point| point.throughput), most(|point| point.latency_ms));
    let decades = decades(points);
    let across = |x: f64| {
        let span = (decades.1 - decades.0).max(1.0);
        left + (x.max(1.0).log10() - decades.0) / span * WIDTH
    };
    let _ = writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" \
         stroke=\"#888\"/>"
    );
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        let y = bottom - share * HEIGHT;
        let (end, right) = (left - 6.0, left + WIDTH + 6.0);
        text(svg, (end, y + 4.0), "end", THROUGHPUT, &short(share * throughput));
        text(svg, (right, y + 4.0), "start", LATENCY, &short(share * latency));
    }
    let mut decade = decades.0;
    while decade <= decades.1 {
        let x = 10_f64.powf(decade);
        text(svg, (across(x), bottom + 18.0), "middle", "#222", &short(x));
        decade += 1.0;
    }
    text(svg, (left + WIDTH / 2.0, bottom + 38.0), "middle", "#222", name);
    text(svg, (left, top - 10.0), "start", THROUGHPUT, "tasks/s");
    text(svg, (left + WIDTH, top - 10.0), "end", LATENCY, "report ack p99, ms");
    let line = |of: fn(&Point) -> f64, most: f64| -> Vec<(f64, f64)> {
        let place = |point: &Point| (across(point.x), bottom - of(point) / most * HEIGHT);
        points.iter().map(place).collect()
    };
    curve(svg, &line(|point| point.throughput, throughput), THROUGHPUT);
    curve(svg, &line(|point| point.latency_ms, latency), LATENCY);
}

fn curve(svg: &mut String, places: &[(f64, f64)], colour: &str) {
    let joined: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let joined = joined.join(" ");
    let _ = writeln!(
        svg,
        "<polyline points=\"{joined}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
    for (x, y) in places {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, said: &str) {
    let said = said.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{said}</text>"
    );
}

/// The powers of ten around all points.
fn decades(points: &[Point]) -> (f64, f64) {
    let logs = points.iter().map(|point| point.x.max(1.0).log10());
    let (least, most) = logs.fold((f64::MAX, f64::MIN), |(a, b), log| (a.min(log), b.max(log)));
    if points.is_empty() { (0.0, 1.0) } else { (least.floor(), most.ceil()) }
}

/// The end of an axis: 1, 2 or 5 with zeros, not below `value`.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.max(1e-3).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * decade);
    steps.into_iter().find(|end| *end >= value).unwrap_or(value)
}

fn short(value: f64) -> String {
    match value {
        large if large >= 1e6 => format!("{}M", large / 1e6),
        large if large >= 1e4 => format!("{}k", large / 1e3),
        small => format!("{}", (small * 1e3).round() / 1e3),
    }
}
