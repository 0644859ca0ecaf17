//! The report as Markdown, for `docs/performance.md`.

use std::fmt::Write as _;

use super::{Report, cpu, median, range, ratio};

impl Report {
    /// Circumstances, command, table, what each backend was, remarks. Ends with a line feed.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "{}\n\n```console\n$ {}\n```\n\n\
             | measurement | backend | median | min–max | × two-tap loop | × Linux bridge | CPU |\n\
             |---|---|--:|--:|--:|--:|--:|\n",
            escaped(&self.circumstances()),
            self.command
        );
        // Writing to a String cannot fail.
        for figure in self.compared().into_iter().flat_map(|metric| self.results.figures(metric)) {
            let _ = writeln!(
                text,
                "| {}, {} | {} | {} | {} | {} | {} | {} |",
                figure.metric.label(),
                figure.metric.display_unit().0,
                escaped(&figure.backend.name),
                median(&figure),
                range(&figure),
                ratio(figure.to_two_tap_loop),
                ratio(figure.to_linux_bridge),
                cpu(&figure)
            );
        }
        text.push('\n');
        for backend in &self.results.backends {
            let _ = writeln!(text, "- **{}**: {}", escaped(&backend.name), escaped(&backend.description));
        }
        text.push_str(
            "\nRatios are medians of the ratios of each round; CPU is the time of the switch alone.\n",
        );
        for remark in self.remarks() {
            let _ = writeln!(text, "\n{}", escaped(&remark));
        }
        text
    }
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
    use crate::bench::measure::{LINUX_BRIDGE, TWO_TAP_LOOP};
    use crate::bench::report::tests::of_backends;

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
