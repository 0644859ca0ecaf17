//! The report as Markdown, for `docs/performance.md`.

use std::fmt::Write as _;

use super::{Report, compared, cpu, median, range, ratio};
use crate::bench::results::Results;

impl Report {
    /// Circumstances, command, a table for each part and what each backend was, remarks. Ends with a line feed.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n```console\n$ {}\n```\n", escaped(&self.circumstances()), self.command);
        for part in &self.parts {
            text.push_str(&part_table(part));
        }
        text.push_str(
            "\nRatios are medians of the ratios of each round; CPU is the time of the switch alone.\n",
        );
        for remark in self.remarks() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\n{}", escaped(&remark));
        }
        text
    }
}

/// One row per metric and backend, then what each backend was.
fn part_table(part: &Results) -> String {
    let baselines = part.part.baselines();
    let heads: String = baselines.iter().map(|(_, title)| format!(" × {title} |")).collect();
    let mut text = format!(
        "\n**{}**\n\n| measurement | backend | median | min–max |{heads} CPU |\n|---|---|--:|--:|{}--:|\n",
        part.part.title(),
        "--:|".repeat(baselines.len())
    );
    // Writing to a String cannot fail.
    for figure in compared(part).into_iter().flat_map(|metric| part.figures(metric)) {
        let ratios: String = figure.ratios.iter().map(|(_, value)| format!(" {} |", ratio(*value))).collect();
        let _ = writeln!(
            text,
            "| {}, {} | {} | {} | {} |{ratios} {} |",
            figure.metric.label(),
            figure.metric.display_unit().0,
            escaped(&figure.backend.name),
            median(&figure),
            range(&figure),
            cpu(&figure)
        );
    }
    text.push('\n');
    for backend in &part.backends {
        let _ = writeln!(text, "- **{}**: {}", escaped(&backend.name), escaped(&backend.description));
    }
    text
}

/// `text` with the characters that Markdown would take for its own made literal, on one line.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            escaped.push(' ');
            continue;
        }
        if matches!(character, '\\' | '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::{LINUX_BRIDGE, LINUX_ROUTER, TWO_TAP_LOOP};
    use crate::bench::measurement::Part;
    use crate::bench::report::tests::{of_backends, of_parts};

    #[test]
    fn rows_have_seven_cells_and_the_figures() {
        let text = of_backends(&[("vswitch", 1.2), (TWO_TAP_LOOP, 1.5), (LINUX_BRIDGE, 1.0)]).markdown();
        assert!(
            text.contains("| TCP 1 stream, Gbit/s | vswitch | 12.0 | 9.60–14.4 | 0.80 | 1.20 | 0.500 s/GB |"),
            "{text}"
        );
        assert!(
            text.contains("| TCP round trip p50, µs | vswitch | 25.0 | 20.8–31.2 | 1.25 | 0.83 | – |"),
            "{text}"
        );
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 2 + 6 * 3);
        assert!(rows.iter().all(|row| row.matches('|').count() == 8), "{text}");
    }

    #[test]
    fn every_part_has_a_table_with_its_own_baselines() {
        let router: &[_] = &[("vswitch-router", 1.2), (LINUX_ROUTER, 1.0)];
        let text = of_parts(&[(Part::Bridge, &[("vswitch", 1.0)]), (Part::Router, router)]).markdown();
        assert!(
            text.contains("\n| measurement | backend | median | min–max | × Linux router | CPU |\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "| TCP 1 stream in, Gbit/s | vswitch-router | 12.0 | 9.60–14.4 | 1.20 | 0.500 s/GB |"
            ),
            "{text}"
        );
        assert!(text.contains("- **vswitch-router**: "));
    }

    #[test]
    fn the_command_and_the_exact_driver_are_there() {
        let text = of_backends(&[("vswitch", 1.0)]).markdown();
        assert!(text.contains("$ vswitch bench --rounds 3 && echo \"<done>\"\n"));
        assert!(text.contains("- **vswitch**: the vswitch \\<driver\\>\n"));
    }

    #[test]
    fn what_markdown_would_take_for_its_own_is_literal() {
        assert_eq!(escaped("a|b_c\nd"), "a\\|b\\_c d");
    }
}
