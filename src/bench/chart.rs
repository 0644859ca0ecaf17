//! The report as an SVG bar chart: one panel per metric, one bar per backend, its length the median and a whisker
//! from the smallest to the largest round.
//!
//! Every bar carries its backend's name and its value, so nothing depends on telling colours apart; the colours are
//! Okabe and Ito's, distinct under the common forms of colour blindness. The chart brings its own background: the page
//! it is shown on may be light or dark. It follows the reader's preference where the viewer supports that.

use std::fmt::{self, Write as _};

use super::metric::Metric;
use super::report::{Machine, Report};
use super::results::{Figure, Results};

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 28.0;
const HEADER: f64 = 104.0;
/// Panel heading, and the tick labels below the bars.
const PANEL_HEADING: f64 = 30.0;
const PANEL_AXIS: f64 = 20.0;
const PANEL_GAP: f64 = 18.0;
const BAR_PITCH: f64 = 24.0;
const BAR_HEIGHT: f64 = 16.0;
/// Room right of the longest whisker for its value.
const VALUE_ROOM: f64 = 92.0;
/// Of a letter of the bars' labels, generously: fonts differ.
const LETTER_WIDTH: f64 = 7.4;
const LONGEST_NAME: usize = 28;
const LONGEST_LINE: usize = 118;

/// Light first; the dark colours apply where the viewer says the reader prefers them.
const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#24292f;font-size:13px}\
.title{font-size:20px;font-weight:600}\
.heading{font-size:14px;font-weight:600}\
.muted{fill:#57606a;font-size:12px}\
.command{font-family:ui-monospace,SFMono-Regular,Menlo,'DejaVu Sans Mono',monospace}\
.own{font-weight:700}\
.card{fill:#ffffff;stroke:#d0d7de}\
.grid{stroke:#e4e8ec}\
.axis{stroke:#8c959f}\
.whisker{stroke:#24292f;stroke-width:1.5;fill:none}\
.halo{stroke:#ffffff;stroke-width:4;stroke-linecap:square;stroke-opacity:0.7;fill:none}\
@media (prefers-color-scheme:dark){\
text{fill:#e6edf3}\
.muted{fill:#9aa4af}\
.card{fill:#12171e;stroke:#30363d}\
.grid{stroke:#262d36}\
.axis{stroke:#6e7681}\
.whisker{stroke:#e6edf3}\
.halo{stroke:#12171e}\
}";

/// Known backends keep their colour from run to run; others take the spares in turn.
const COLOURS: [(&str, &str); 7] = [
    ("vswitch", "#D55E00"),
    ("two-tap-loop", "#E69F00"),
    ("linux-bridge", "#0072B2"),
    ("vswitch-router", "#D55E00"),
    ("linux-router", "#0072B2"),
    ("open-vswitch", "#CC79A7"),
    ("veth", "#999999"),
];
const SPARE_COLOURS: [&str; 3] = ["#009E73", "#56B4E9", "#F0E442"];

/// The whole chart, one SVG document.
pub(crate) fn svg(report: &Report) -> String {
    let mut svg = String::new();
    // Writing to a String cannot fail.
    let _ = draw(&mut svg, report);
    svg
}

fn draw(svg: &mut String, report: &Report) -> fmt::Result {
    let charted = report.charted();
    let panels: Vec<f64> = charted.iter().map(|(part, _)| panel_height(part.backends.len())).collect();
    let height = panels.iter().fold(HEADER + MARGIN - PANEL_GAP, |height, panel| height + panel + PANEL_GAP);
    let title = "vswitch beside its peers: same machine, same run";
    let description = spoken(&charted);
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title description">
<title id="title">{title}</title>
<desc id="description">{}</desc>
<style>{STYLE}</style>
<rect class="card" x="0.5" y="0.5" width="{}" height="{}" rx="8"/>
<text class="title" x="{MARGIN}" y="42">{title}</text>
<text class="muted" x="{MARGIN}" y="64">{}</text>
<text class="muted command" x="{MARGIN}" y="83">{}</text>"#,
        escaped(&description),
        WIDTH - 1.0,
        height - 1.0,
        escaped(&shortened(&subtitle(report), LONGEST_LINE)),
        escaped(&shortened(&format!("$ {}", report.command), LONGEST_LINE)),
    )?;
    let mut top = HEADER;
    for ((part, metric), height) in charted.into_iter().zip(panels) {
        Panel::new(part, metric, top).draw(svg)?;
        top += height + PANEL_GAP;
    }
    writeln!(svg, "</svg>")
}

fn panel_height(bars: usize) -> f64 {
    (0..bars).fold(PANEL_HEADING + PANEL_AXIS, |height, _| height + BAR_PITCH)
}

fn subtitle(report: &Report) -> String {
    let Machine { kernel, cpus, congestion_control, mtu, .. } = &report.machine;
    let seconds = report.window.measured.as_secs_f64();
    format!(
        "{} · kernel {kernel} · {cpus} CPUs · MTU {mtu} · {congestion_control} · median of {} rounds of {seconds} s, \
         whiskers: min to max",
        report.date, report.rounds
    )
}

/// The medians in words, for those who hear the chart.
fn spoken(charted: &[(&Results, Metric)]) -> String {
    let mut sentences = Vec::new();
    for &(part, metric) in charted {
        let figures = part.figures(metric);
        let medians: Vec<String> =
            figures.iter().map(|figure| format!("{} {}", figure.backend.name, value(figure))).collect();
        sentences.push(format!("{}{}: {}.", part.part.prefix(), metric.label(), medians.join(", ")));
    }
    sentences.join(" ")
}

/// One metric: heading, bars, axis.
struct Panel<'a> {
    metric: Metric,
    prefix: &'static str,
    figures: Vec<Figure<'a>>,
    top: f64,
    /// The position of zero.
    left: f64,
    scale: Scale,
}

impl<'a> Panel<'a> {
    fn new(part: &'a Results, metric: Metric, top: f64) -> Self {
        let figures = part.figures(metric);
        let longest =
            figures.iter().map(|figure| figure.backend.name.chars().count().min(LONGEST_NAME)).max();
        let left = (0..longest.unwrap_or(0)).fold(MARGIN + 12.0, |left, _| left + LETTER_WIDTH);
        let largest = figures.iter().filter_map(|figure| figure.summary).map(|summary| summary.max);
        let largest = largest.fold(0.0, f64::max) / metric.display_unit().1;
        let scale = Scale::up_to(largest, WIDTH - MARGIN - VALUE_ROOM - left);
        Self { metric, prefix: part.part.prefix(), figures, top, left, scale }
    }

    fn draw(&self, svg: &mut String) -> fmt::Result {
        let sense = if self.metric.more_is_better() { "more is better" } else { "less is better" };
        writeln!(
            svg,
            r#"<text class="heading" x="{MARGIN}" y="{}">{}{}, {}</text><text class="muted" x="{}" y="{}" text-anchor="end">{sense}</text>"#,
            self.top + 14.0,
            self.prefix,
            escaped(&self.metric.label()),
            self.metric.display_unit().0,
            WIDTH - MARGIN,
            self.top + 14.0,
        )?;
        self.draw_axis(svg)?;
        let mut spare = SPARE_COLOURS.iter().cycle();
        let mut middle = self.top + PANEL_HEADING + BAR_PITCH / 2.0;
        for figure in &self.figures {
            let known =
                COLOURS.iter().find(|(name, _)| *name == figure.backend.name).map(|(_, colour)| *colour);
            let colour = known.or_else(|| spare.next().copied()).unwrap_or_default();
            self.draw_bar(svg, figure, colour, middle)?;
            middle += BAR_PITCH;
        }
        Ok(())
    }

    fn draw_axis(&self, svg: &mut String) -> fmt::Result {
        let top = self.top + PANEL_HEADING - 2.0;
        let bottom = self.top + panel_height(self.figures.len()) - PANEL_AXIS + 2.0;
        for tick in self.scale.ticks() {
            let x = self.left + self.scale.length(tick);
            let class = if tick == 0.0 { "axis" } else { "grid" };
            writeln!(
                svg,
                r#"<line class="{class}" x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}"/><text class="muted" x="{x:.1}" y="{}" text-anchor="middle">{tick}</text>"#,
                bottom + 14.0,
            )?;
        }
        Ok(())
    }

    fn draw_bar(&self, svg: &mut String, figure: &Figure<'_>, colour: &str, middle: f64) -> fmt::Result {
        let own = if figure.backend.name.starts_with("vswitch") { " class=\"own\"" } else { "" };
        let baseline = middle + 4.5;
        writeln!(
            svg,
            r#"<text{own} x="{:.1}" y="{baseline}" text-anchor="end">{}</text>"#,
            self.left - 10.0,
            escaped(&shortened(&figure.backend.name, LONGEST_NAME)),
        )?;
        let Some(summary) = figure.summary else {
            return writeln!(
                svg,
                r#"<text class="muted" x="{:.1}" y="{baseline}">{}</text>"#,
                self.left + 8.0,
                value(figure)
            );
        };
        let [median, min, max] = [summary.median, summary.min, summary.max]
            .map(|value| self.scale.length(value / self.metric.display_unit().1));
        let (from, to, high, low) = (self.left + min, self.left + max, middle - 4.0, middle + 4.0);
        let whisker = format!("M{from:.1} {middle}H{to:.1}M{from:.1} {high}V{low}M{to:.1} {high}V{low}");
        writeln!(
            svg,
            r#"<rect x="{:.1}" y="{}" width="{median:.1}" height="{BAR_HEIGHT}" fill="{colour}"/><path class="halo" d="{whisker}"/><path class="whisker" d="{whisker}"/><text{own} x="{:.1}" y="{baseline}">{}</text>"#,
            self.left,
            middle - BAR_HEIGHT / 2.0,
            to + 8.0,
            value(figure),
        )
    }
}

/// The median with its unit, or that there is none.
fn value(figure: &Figure<'_>) -> String {
    figure.summary.map_or_else(
        || "failed".into(),
        |summary| format!("{} {}", figure.metric.number(summary.median), figure.metric.display_unit().0),
    )
}

/// From a value in the display unit to a length, from zero: a bar that starts elsewhere lies.
struct Scale {
    largest: f64,
    length: f64,
    step: f64,
}

impl Scale {
    fn up_to(largest: f64, length: f64) -> Self {
        let largest = if largest > 0.0 { largest } else { 1.0 };
        // Steps of 1, 2 or 5 times a power of ten, so that four to eight of them fit.
        let magnitude = 10f64.powf((largest / 4.0).log10().floor());
        let step =
            [5.0, 2.0, 1.0].map(|factor| factor * magnitude).into_iter().find(|step| *step <= largest / 4.0);
        Self { largest, length, step: step.unwrap_or(magnitude) }
    }

    fn length(&self, value: f64) -> f64 {
        value / self.largest * self.length
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        // The ticks are rounded: sums of a step such as 0.1 would show their binary tails.
        let tidy = |tick: f64| (tick * 1e6).round() / 1e6;
        (0..=10u8)
            .map(move |index| tidy(f64::from(index) * self.step))
            .take_while(|tick| *tick <= self.largest)
    }
}

/// `text`, or its beginning and an ellipsis if it has more than `longest` characters.
fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.into();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

/// `text` as XML character data: markup made literal, characters XML 1.0 does not allow (§2.2) made blank.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::error::BenchError;
    use crate::bench::measurement::Part;
    use crate::bench::report::tests::{of_backends, of_parts};
    use proptest::prelude::*;

    /// What a reader of `xml` sees, if every element is closed in order, every attribute quoted and every reference
    /// known: enough of XML to catch what this module could get wrong.
    fn text_of(xml: &str) -> Result<String, String> {
        let (mut open, mut text, mut rest) = (Vec::new(), String::new(), xml);
        while let Some(start) = rest.find('<') {
            text.push_str(&unescaped(&rest[..start])?);
            let end = rest[start..].find('>').ok_or("tag without end")? + start;
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return Err(format!("</{name}> closes nothing"));
                }
                text.push('\n');
                continue;
            }
            let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            check_attributes(attributes)?;
            if !empty {
                open.push(name);
            }
        }
        if !open.is_empty() || !rest.trim().is_empty() {
            return Err(format!("left open: {open:?}, after the end: {rest:?}"));
        }
        Ok(text)
    }

    fn check_attributes(attributes: &str) -> Result<(), String> {
        let mut rest = attributes.trim();
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").ok_or_else(|| format!("attribute in {rest:?}"))?;
            if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-') {
                return Err(format!("attribute name {name:?}"));
            }
            let (value, after) = after.split_once('"').ok_or("attribute without end")?;
            unescaped(value)?;
            rest = after.trim_start();
        }
        Ok(())
    }

    fn unescaped(text: &str) -> Result<String, String> {
        if text.chars().any(|character| character.is_control() && character != '\n') {
            return Err(format!("forbidden character in {text:?}"));
        }
        let mut plain = String::new();
        let mut parts = text.split('&');
        plain.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let (reference, after) = part.split_once(';').ok_or("reference without end")?;
            plain.push(match reference {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "#39" => '\'',
                unknown => return Err(format!("&{unknown};")),
            });
            plain.push_str(after);
        }
        Ok(plain)
    }

    #[test]
    fn the_check_finds_what_is_wrong() {
        for wrong in ["<a>", "<a></b>", "<a b=c/>", "<a>&</a>", "<a>&nbsp;</a>", "<a>\u{1}</a>", "<a/>x"] {
            assert!(text_of(wrong).is_err(), "{wrong}");
        }
        assert_eq!(text_of("<a b=\"1\">x &lt; <b/>y</a>").unwrap(), "x < y\n");
    }

    #[test]
    fn the_chart_is_well_formed_and_carries_every_label() {
        let report = of_backends(&[("vswitch", 1.2), ("two-tap-loop", 1.5), ("<a & b>", 1.0)]);
        let text = text_of(&svg(&report)).unwrap();
        for label in [
            "\nTCP 1 stream, Gbit/s\n",
            "\nTCP 4 streams, Gbit/s\n",
            "\nUDP 16 B received, k/s\n",
            "\nTCP round trip p50, µs\n",
            "\nTCP round trip p99, µs\n",
            "\nvswitch\n",
            "\n<a & b>\n",
            "12.0 Gbit/s\n",
            "kernel 6.18.44",
            "$ vswitch bench --rounds 3 && echo \"<done>\"",
        ] {
            assert!(text.contains(label), "{label:?} is missing in {text}");
        }
        assert_eq!(text.matches("\n12.0 Gbit/s\n").count(), 1);
    }

    #[test]
    fn panels_of_the_router_say_so_and_lie_below_the_others() {
        let two = [("vswitch-router", 1.0), ("linux-router", 1.0)];
        let report = of_parts(&[(Part::Bridge, &[("vswitch", 1.0)]), (Part::Router, &two)]);
        let text = text_of(&svg(&report)).unwrap();
        for label in
            ["\nTCP 1 stream, Gbit/s\n", "\nNAT, TCP 1 stream, Gbit/s\n", "\nNAT, TCP 1 stream in, Gbit/s\n"]
        {
            assert_eq!(text.matches(label).count(), 1, "{label}");
        }
        assert!(text.find("TCP round trip p99, µs\n") < text.find("\nNAT, "));
        assert_eq!(
            text.matches("\nvswitch-router\n").count(),
            4,
            "in every panel of its part and in no other"
        );
    }

    #[test]
    fn a_backend_that_failed_is_shown_as_such() {
        let mut report = of_backends(&[("vswitch", 1.0), ("veth", 1.0)]);
        for outcome in report.parts[0].outcomes.iter_mut().filter(|outcome| outcome.step.backend == 1) {
            outcome.reading = Err(BenchError::NothingArrived { cause: None });
        }
        let text = text_of(&svg(&report)).unwrap();
        assert_eq!(text.matches("\nfailed\n").count(), 5);
    }

    #[test]
    fn a_chart_of_nothing_is_still_a_chart() {
        assert!(text_of(&svg(&of_backends(&[]))).is_ok());
    }

    #[test]
    fn the_longest_whisker_ends_where_the_room_for_values_begins() {
        let scale = Scale::up_to(17.3, 600.0);
        assert_eq!(scale.length(17.3), 600.0);
        assert_eq!(scale.ticks().collect::<Vec<_>>(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]);
    }

    proptest! {
        #[test]
        fn any_name_is_shown_literally(name in "\\PC{0,20}", command in any::<String>()) {
            let mut report = of_backends(&[(&name, 1.0)]);
            report.command = command;
            let text = text_of(&svg(&report)).map_err(TestCaseError::fail)?;
            let shown = format!("\n{name}\n");
            prop_assert!(text.contains(&shown));
        }

        #[test]
        fn four_to_ten_steps_fit_any_scale(largest in 1e-3f64..1e6) {
            let ticks = Scale::up_to(largest, 100.0).ticks().collect::<Vec<_>>();
            prop_assert!((5..=11).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.iter().all(|tick| *tick <= largest));
        }
    }
}
