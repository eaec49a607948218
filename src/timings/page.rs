//! A build as one self-contained HTML page: no script, no font, no network. Every number of the
//! chart is in a table too. Knows only the timings.

use super::chart::chart;
use super::escape::escaped;
use super::{Span, Timings, critical_path, shown};
use crate::base::words::count;
use crate::event::Outcome;

/// Number of reasons that a row of the table shows; a click shows the others.
const REASONS_SHOWN: usize = 2;

/// Part of every page.
const GENERATOR: &str = "<meta name=\"generator\" content=\"zipwright --timings\">";

/// Returns whether a text is such a page.
pub fn is_page(text: &str) -> bool {
    text.contains(GENERATOR)
}

/// Returns the page. Its policy forbids every outside resource and script.
pub fn html(timings: &Timings) -> String {
    let title = title(timings);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n{GENERATOR}\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
         <h1{mood}>{title}</h1>\n{headline}{timeline}{critical}{ran}{skipped}{up_to_date}\
         <footer>zipwright {version}</footer>\n</body>\n</html>\n",
        style = include_str!("page.css"),
        mood = if timings.failed() > 0 { " class=\"bad\"" } else { "" },
        headline = headline(timings),
        timeline = timeline(timings),
        critical = critical_section(timings),
        ran = ran_section(timings),
        skipped = skipped_section(timings),
        up_to_date = up_to_date_section(timings),
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn title(timings: &Timings) -> String {
    let total = shown(timings.total);
    if timings.failed() > 0 {
        format!("Build failed after {total}")
    } else if timings.spans.is_empty() && !timings.up_to_date.is_empty() {
        format!("Everything is up to date, seen in {total}")
    } else {
        format!("Build finished in {total}")
    }
}

/// Returns the numbers of the whole build, as a list of names and values.
fn headline(timings: &Timings) -> String {
    let failed = timings.failed();
    let path: f64 =
        critical_path(&timings.spans).iter().map(|place| timings.spans[*place].seconds()).sum();
    let work: f64 = timings.spans.iter().map(Span::seconds).sum();
    let mut tiles = vec![
        ("total time", shown(timings.total), ""),
        ("ran", (timings.spans.len() - failed).to_string(), ""),
        ("up to date", timings.up_to_date.len().to_string(), ""),
        ("failed", failed.to_string(), if failed > 0 { " class=\"bad\"" } else { "" }),
    ];
    if !timings.skipped.is_empty() {
        tiles.push(("skipped", timings.skipped.len().to_string(), ""));
    }
    let jobs =
        if timings.jobs == usize::MAX { "no limit".into() } else { timings.jobs.to_string() };
    tiles.push(("jobs", jobs, ""));
    if !timings.spans.is_empty() {
        tiles.push(("critical path", shown(path), ""));
    }
    if timings.total > 0.0 {
        tiles.push(("jobs busy, on average", format!("{:.1}", work / timings.total), ""));
    }
    let tiles: String = tiles
        .iter()
        .map(|(name, value, class)| format!("<div{class}><dt>{name}</dt><dd>{value}</dd></div>\n"))
        .collect();
    format!("<dl class=\"headline\">\n{tiles}</dl>\n")
}

fn timeline(timings: &Timings) -> String {
    let mut kinds: Vec<&str> = timings.spans.iter().map(|span| span.kind).collect();
    if kinds.is_empty() {
        return String::new();
    }
    kinds.sort_unstable();
    kinds.dedup();
    let mut legend: String =
        kinds.iter().map(|kind| format!("<li>{}{}</li>\n", swatch(kind), escaped(kind))).collect();
    legend += "<li><i class=\"swatch critical\"></i>on the critical path</li>\n";
    if timings.failed() > 0 {
        legend += "<li><i class=\"swatch failed\"></i>✗ failed</li>\n";
    }
    format!("<h2>Over time</h2>\n<ul class=\"legend\">\n{legend}</ul>\n{}", chart(timings))
}

fn critical_section(timings: &Timings) -> String {
    let path = critical_path(&timings.spans);
    if path.is_empty() {
        return String::new();
    }
    let time: f64 = path.iter().map(|place| timings.spans[*place].seconds()).sum();
    let rows: String = path
        .iter()
        .enumerate()
        .map(|(step, place)| {
            let span = &timings.spans[*place];
            format!(
                "<tr><td class=\"number\">{}</td>{}<td class=\"number\">{:.2} s</td></tr>\n",
                step + 1,
                name_and_time(span, timings.total),
                span.start,
            )
        })
        .collect();
    format!(
        "<h2>Critical path</h2>\n<p>{}, {} of {}: with these targets as slow as they were, no \
         number of jobs makes the build faster than this.</p>\n<table>\n<thead><tr><th class=\"number\"></th>\
         <th>target</th><th>kind</th><th class=\"number\">time</th><th class=\"number\">of the \
         total</th><th class=\"number\">started at</th></tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table>\n",
        count(path.len(), "target"),
        shown(time),
        shown(timings.total),
    )
}

/// Returns the table of targets that ran: failures first, then the slowest.
fn ran_section(timings: &Timings) -> String {
    let mut spans: Vec<&Span> = timings.spans.iter().collect();
    if spans.is_empty() {
        return String::new();
    }
    let failed = |span: &Span| span.outcome == Outcome::Failed;
    spans.sort_by(|a, b| failed(b).cmp(&failed(a)).then(b.seconds().total_cmp(&a.seconds())));
    let rows: String = spans
        .iter()
        .map(|span| {
            format!(
                "<tr{}>{}<td>{}{}</td></tr>\n",
                if failed(span) { " class=\"bad\"" } else { "" },
                name_and_time(span, timings.total),
                span.error.as_ref().map_or_else(String::new, |error| format!(
                    "<p class=\"error\">{}</p>",
                    escaped(error)
                )),
                reasons(&span.reasons),
            )
        })
        .collect();
    format!(
        "<h2>Ran</h2>\n<table>\n<thead><tr><th>target</th><th>kind</th>\
         <th class=\"number\">time</th><th class=\"number\">of the total</th><th>why</th></tr>\
         </thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    )
}

/// Returns the cells that every table of targets has.
fn name_and_time(span: &Span, total: f64) -> String {
    let share = if total > 0.0 { span.seconds() / total * 100.0 } else { 0.0 };
    let mark = if span.outcome == Outcome::Failed { "✗ " } else { "" };
    format!(
        "<td class=\"name\">{mark}{}</td><td class=\"kind\">{}{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{share:.1} %</td>",
        escaped(&span.target),
        swatch(span.kind),
        escaped(span.kind),
        shown(span.seconds()),
    )
}

fn reasons(reasons: &[String]) -> String {
    let list = |reasons: &[String]| -> String {
        reasons.iter().map(|reason| format!("<li>{}</li>", escaped(reason))).collect()
    };
    let (first, rest) = reasons.split_at(reasons.len().min(REASONS_SHOWN));
    match (first.is_empty(), rest.is_empty()) {
        (true, _) => String::new(),
        (_, true) => format!("<ul>{}</ul>", list(first)),
        _ => format!(
            "<ul>{}</ul><details><summary>and {} more</summary><ul>{}</ul></details>",
            list(first),
            rest.len(),
            list(rest)
        ),
    }
}

fn skipped_section(timings: &Timings) -> String {
    if timings.skipped.is_empty() {
        return String::new();
    }
    let rows: String = timings
        .skipped
        .iter()
        .map(|skipped| {
            format!(
                "<tr><td class=\"name\">{}</td><td class=\"name\">{}</td></tr>\n",
                escaped(&skipped.target),
                escaped(&skipped.because)
            )
        })
        .collect();
    format!(
        "<h2>Skipped</h2>\n<table>\n<thead><tr><th>target</th><th>because this failed</th></tr>\
         </thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    )
}

fn up_to_date_section(timings: &Timings) -> String {
    if timings.up_to_date.is_empty() {
        return String::new();
    }
    let names: String =
        timings.up_to_date.iter().map(|name| format!("<li>{}</li>\n", escaped(name))).collect();
    format!(
        "<h2>Up to date</h2>\n<details>\n<summary>{}</summary>\n<ul class=\"names\">\n{names}</ul>\n\
         </details>\n",
        count(timings.up_to_date.len(), "target")
    )
}

/// Returns a small square in the colour of `kind`; the style sheet has the colours by name.
fn swatch(kind: &str) -> String {
    format!("<i class=\"swatch k-{}\"></i>", escaped(kind))
}

#[cfg(test)]
mod tests {
    use super::super::Skipped;
    use super::super::example::{bundle, random, span};
    use super::*;

    #[test]
    fn the_headline_counts_what_happened() {
        let page = html(&bundle());
        assert!(page.contains("<title>Build failed after 9.70 s</title>"));
        assert!(page.contains("<h1 class=\"bad\">Build failed after 9.70 s</h1>"));
        for tile in [
            "<div><dt>total time</dt><dd>9.70 s</dd></div>",
            "<div><dt>ran</dt><dd>5</dd></div>",
            "<div><dt>up to date</dt><dd>1</dd></div>",
            "<div class=\"bad\"><dt>failed</dt><dd>1</dd></div>",
            "<div><dt>skipped</dt><dd>1</dd></div>",
            "<div><dt>jobs</dt><dd>2</dd></div>",
            "<div><dt>critical path</dt><dd>9.60 s</dd></div>",
            "<div><dt>jobs busy, on average</dt><dd>1.2</dd></div>",
        ] {
            assert!(page.contains(tile), "{tile}");
        }
    }

    #[test]
    fn the_critical_path_is_listed_in_order() {
        let section = critical_section(&bundle());
        assert!(section.contains("<p>4 targets, 9.60 s of 9.70 s:"));
        assert!(section.contains(
            "<tr><td class=\"number\">2</td><td class=\"name\">staging</td>\
             <td class=\"kind\"><i class=\"swatch k-staging\"></i>staging</td><td class=\"number\">0.40 s</td>\
             <td class=\"number\">4.1 %</td><td class=\"number\">6.00 s</td></tr>\n"
        ));
    }

    #[test]
    fn failures_come_first_then_the_slowest() {
        let section = ran_section(&bundle());
        let places: Vec<usize> = ["✗ lint", "wheels", "upload", "models", "staging", "package"]
            .iter()
            .map(|name| section.find(&format!("<td class=\"name\">{name}</td>")).unwrap())
            .collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(section.contains(
            "<tr class=\"bad\"><td class=\"name\">✗ lint</td><td class=\"kind\"><i class=\"swatch k-command\"></i>\
             command</td><td class=\"number\">1.00 s</td><td class=\"number\">10.3 %</td><td>\
             <p class=\"error\">`ruff check &lt;src&gt;` exited with status 1</p></td></tr>\n"
        ));
    }

    #[test]
    fn more_reasons_open_on_a_click() {
        let words = ["a", "b", "<c>"].map(String::from);
        assert_eq!(reasons(&words[..1]), "<ul><li>a</li></ul>");
        assert_eq!(
            reasons(&words),
            "<ul><li>a</li><li>b</li></ul>\
             <details><summary>and 1 more</summary><ul><li>&lt;c&gt;</li></ul></details>"
        );
    }

    #[test]
    fn no_text_of_the_build_becomes_markup() {
        let evil = "</title></style>\"'><script>alert(1)</script>&\u{1b}\u{202e}";
        let mut timings = bundle();
        timings.spans.push(span(evil, "command", (0.0, 1.0), &[]));
        let last = timings.spans.last_mut().unwrap();
        last.reasons = vec![evil.into(); 9];
        last.error = Some(evil.into());
        last.outcome = Outcome::Failed;
        timings.up_to_date.push(evil.into());
        timings.skipped.push(Skipped { target: evil.into(), because: evil.into() });
        let page = html(&timings);
        assert!(!page.contains("<script"));
        assert_eq!(page.matches("</style>").count(), 1);
        assert!(!page.contains(['\u{1b}', '\u{202e}']));
        assert!(page.contains("&quot;&#39;&gt;&lt;script&gt;"));
        assert!(page.contains("&amp;\\u{1b}\\u{202e}"));
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let page = html(&bundle());
        for outside in ["http:", "https:", "//", "src=", "url(", "@import", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn a_build_in_which_nothing_ran_says_so() {
        let up_to_date = vec!["a".to_string(), "b".to_string()];
        let page = html(&Timings { jobs: 4, total: 0.02, up_to_date, ..Timings::default() });
        assert!(page.contains("<h1>Everything is up to date, seen in 0.02 s</h1>"));
        assert!(page.contains("<summary>2 targets</summary>"));
        assert!(!page.contains("<svg") && !page.contains("<h2>Ran") && !page.contains("NaN"));
        let empty = html(&Timings { jobs: usize::MAX, ..Timings::default() });
        assert!(empty.contains("<dd>no limit</dd>"));
        assert!(empty.contains("<h1>Build finished in 0.00 s</h1>"));
    }

    #[test]
    fn equal_builds_give_equal_pages() {
        for seed in 0..20 {
            assert_eq!(html(&random(seed, 60)), html(&random(seed, 60)));
        }
    }

    #[test]
    fn times_that_are_not_times_do_no_harm() {
        for (start, end) in [(f64::NAN, 1.0), (0.0, f64::INFINITY), (3.0, -1.0), (-1.0, -0.5)] {
            let spans =
                vec![span("odd", "zip", (start, end), &[]), span("a", "zip", (0.0, 1.0), &[])];
            let timings = Timings { jobs: 1, total: 1.0, spans, ..Timings::default() };
            assert!(html(&timings).ends_with("</html>\n"));
            assert!(super::super::chrome_trace(&timings).ends_with("]\n"));
        }
    }
}
