//! The bars of a build over time, as SVG: a row for each job slot. Widths are percentages, so that
//! the chart fits any page and can be stretched. Knows nothing of the page around it.

use std::collections::BTreeSet;

use super::escape::escaped;
use super::{Span, Timings, critical_path, shown, slots};
use crate::event::Outcome;

const AXIS_HEIGHT: usize = 24;
const ROW_HEIGHT: usize = 28;
const BAR_HEIGHT: usize = 22;
/// Smallest width of a bar in percent, so that even the shortest target is visible.
const LEAST_WIDTH: f64 = 0.1;
/// Number of reasons in a hover text; the table has all of them.
const REASONS_SHOWN: usize = 6;
/// Number of bars above which the page offers to stretch the chart.
const MANY_BARS: usize = 40;
/// Widths of the chart as multiples of the page's; the style sheet has a rule for each.
const STRETCHES: [u32; 3] = [1, 4, 16];

/// Returns the chart with the names of its rows; empty if no target ran.
pub(super) fn chart(timings: &Timings) -> String {
    if timings.spans.is_empty() {
        return String::new();
    }
    let slots = slots(&timings.spans);
    let rows = slots.iter().max().map_or(0, |slot| slot + 1);
    let height = AXIS_HEIGHT + rows * ROW_HEIGHT;
    let many = timings.spans.len() > MANY_BARS;
    let stretches = if many { &STRETCHES[..] } else { &STRETCHES[..1] };
    let axes: String =
        stretches.iter().map(|stretch| axis(timings.extent(), height, *stretch)).collect();
    let names: String = (1..=rows).map(|row| format!("<div>job {row}</div>")).collect();
    format!(
        "<div class=\"chart\">\n{zoom}<div class=\"rows\">{names}</div>\n\
         <div class=\"scroll\"><svg class=\"time\" width=\"100%\" height=\"{height}\" role=\"img\" \
         aria-label=\"Targets over time, one row per job; the tables below have the numbers.\">\n\
         {axes}{links}{bars}</svg></div>\n</div>\n",
        zoom = if many { zoom() } else { String::new() },
        links = links(timings, &slots),
        bars = bars(timings, &slots),
    )
}

/// Returns buttons that stretch the chart without a script: the style sheet reads which one is
/// chosen.
fn zoom() -> String {
    let buttons: String = STRETCHES
        .iter()
        .map(|stretch| {
            let (chosen, name) = if *stretch == 1 {
                (" checked", "fit".into())
            } else {
                ("", format!("{stretch}×"))
            };
            format!(
                "<input type=\"radio\" name=\"zoom\" id=\"zoom{stretch}\"{chosen}>\
                 <label for=\"zoom{stretch}\">{name}</label>"
            )
        })
        .collect();
    format!("{buttons}<div class=\"break\"></div>\n")
}

/// Returns lines at round times, at most twelve in the visible part of a chart stretched so many
/// times.
fn axis(extent: f64, height: usize, stretch: u32) -> String {
    let step = step(extent / f64::from(stretch));
    let mut lines = String::new();
    let count = if extent.is_finite() { (extent / step).floor() as usize } else { 0 };
    for tick in 0..=count {
        let time = tick as f64 * step;
        let x = share(time, extent);
        // A label at the right edge would be cut off; the headline has the total.
        let label = if (100.0 - x) * f64::from(stretch) < 4.0 {
            String::new()
        } else {
            format!("<text x=\"{x:.3}%\" dx=\"4\" y=\"14\">{}</text>", tick_label(time, step))
        };
        lines += &format!(
            "<line class=\"tick\" x1=\"{x:.3}%\" x2=\"{x:.3}%\" y1=\"0\" y2=\"{height}\"/>{label}\n"
        );
    }
    format!("<g class=\"axis{stretch}\">\n{lines}</g>\n")
}

/// Returns the smallest of 1, 2 and 5 times a power of ten that fits at most twelve times into
/// `extent`.
fn step(extent: f64) -> f64 {
    let mut power = 1e-6;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if extent <= power * factor * 12.0 || power > 1e12 {
                return power * factor;
            }
        }
        power *= 10.0;
    }
}

fn tick_label(time: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    format!("{time:.decimals$} s")
}

/// Returns the lines that join the bars of the critical path.
fn links(timings: &Timings, slots: &[usize]) -> String {
    let middle = |place: usize| AXIS_HEIGHT + slots[place] * ROW_HEIGHT + BAR_HEIGHT / 2;
    let extent = timings.extent();
    critical_path(&timings.spans)
        .windows(2)
        .map(|pair| {
            format!(
                "<line class=\"link\" x1=\"{:.3}%\" y1=\"{}\" x2=\"{:.3}%\" y2=\"{}\"/>\n",
                share(timings.spans[pair[0]].end, extent),
                middle(pair[0]),
                share(timings.spans[pair[1]].start, extent),
                middle(pair[1]),
            )
        })
        .collect()
}

fn bars(timings: &Timings, slots: &[usize]) -> String {
    let critical: BTreeSet<usize> = critical_path(&timings.spans).into_iter().collect();
    let extent = timings.extent();
    let mut bars = String::new();
    for (place, span) in timings.spans.iter().enumerate() {
        let x = share(span.start, extent);
        let width = share(span.seconds(), extent).max(LEAST_WIDTH);
        let mut class = format!("bar k-{}", escaped(span.kind));
        if critical.contains(&place) {
            class += " critical";
        }
        let mut label = format!("{} {}", span.target, shown(span.seconds()));
        if span.outcome == Outcome::Failed {
            class += " failed";
            label = format!("✗ {label}");
        }
        // A bar at the end is moved left, so that it stays visible.
        bars += &format!(
            "<svg class=\"{class}\" x=\"{:.3}%\" y=\"{}\" width=\"{width:.3}%\" \
             height=\"{BAR_HEIGHT}\"><title>{}</title><rect width=\"100%\" height=\"100%\" rx=\"3\"/>\
             <foreignObject width=\"100%\" height=\"100%\"><div><span>{}</span></div>\
             </foreignObject></svg>\n",
            x.min(100.0 - width),
            AXIS_HEIGHT + slots[place] * ROW_HEIGHT,
            escaped(&hover(span, critical.contains(&place))),
            escaped(&label),
        );
    }
    bars
}

/// Returns the hover text of a bar.
fn hover(span: &Span, critical: bool) -> String {
    let mut lines = vec![
        format!("{} ({})", span.target, span.kind),
        format!("{}, from {:.2} s to {:.2} s", shown(span.seconds()), span.start, span.end),
    ];
    if critical {
        lines.push("on the critical path".into());
    }
    if span.outcome == Outcome::Failed {
        lines.push(format!("failed: {}", span.error.as_deref().unwrap_or("no reason given")));
    }
    lines.extend(span.reasons.iter().take(REASONS_SHOWN).cloned());
    if span.reasons.len() > REASONS_SHOWN {
        lines.push(format!("and {} more", span.reasons.len() - REASONS_SHOWN));
    }
    lines.join("\n")
}

/// Returns `part` of `whole` in percent; 0 if `whole` is 0.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole * 100.0).clamp(0.0, 100.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::example::{bundle, random, span};
    use super::*;

    #[test]
    fn bars_stand_where_their_times_are() {
        let chart = chart(&bundle());
        assert!(chart.contains(
            "<svg class=\"bar k-staging critical\" x=\"61.856%\" y=\"24\" width=\"4.124%\" \
             height=\"22\"><title>staging (staging)\n0.40 s, from 6.00 s to 6.40 s\n\
             on the critical path</title><rect width=\"100%\" height=\"100%\" rx=\"3\"/>\
             <foreignObject width=\"100%\" height=\"100%\"><div><span>staging 0.40 s</span></div>\
             </foreignObject></svg>\n"
        ));
        assert!(chart.contains("class=\"bar k-command failed\" x=\"12.371%\" y=\"52\""));
        assert!(chart.contains("failed: `ruff check &lt;src&gt;` exited with status 1</title>"));
        assert!(chart.contains("<div>job 2</div></div>"));
        assert!(!chart.contains("<div>job 3</div>"));
        assert_eq!(chart.matches("class=\"link\"").count(), 3);
    }

    #[test]
    fn the_axis_has_a_few_round_times() {
        assert!(axis(9.7, 80, 1).contains("<text x=\"92.784%\" dx=\"4\" y=\"14\">9 s</text>"));
        for (extent, expected) in
            [(0.0004, 0.00005), (0.9, 0.1), (12.0, 1.0), (12.1, 2.0), (59.0, 5.0), (7e4, 1e4)]
        {
            let found = step(extent);
            assert!((found - expected).abs() < expected / 1e6, "{extent}: {found}");
        }
        assert_eq!(tick_label(0.25, 0.05), "0.25 s");
        assert_eq!(tick_label(40.0, 20.0), "40 s");
        assert!(axis(16.0, 80, 16).contains("dx=\"4\" y=\"14\">0.1 s</text>"));
        assert_eq!(axis(0.0, 80, 1).matches("<line").count(), 1);
        assert_eq!(axis(f64::INFINITY, 80, 16).matches("<line").count(), 1);
    }

    #[test]
    fn only_a_long_build_can_be_stretched() {
        assert!(!chart(&random(1, MANY_BARS)).contains("type=\"radio\""));
        assert!(chart(&random(1, MANY_BARS + 1)).contains("id=\"zoom16\""));
        assert_eq!(chart(&Timings::default()), "");
    }

    #[test]
    fn a_bar_is_seen_however_short_and_wherever() {
        let spans = vec![span("a", "group", (5.0, 5.0), &[])];
        let chart = chart(&Timings { jobs: 1, total: 5.0, spans, ..Timings::default() });
        assert!(chart.contains("x=\"99.900%\" y=\"24\" width=\"0.100%\""), "{chart}");
    }

    #[test]
    fn a_long_list_of_reasons_is_cut_in_the_hover_text() {
        let mut many = span("a", "zip", (0.0, 1.0), &[]);
        many.reasons = (0..9).map(|number| format!("file {number}")).collect();
        assert!(hover(&many, false).ends_with("file 5\nand 3 more"));
    }
}
