//! The report as a table on the terminal.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::{Report, compared, cpu, median, range, ratio};
use crate::bench::metric::Metric;
use crate::bench::results::{Figure, Results};

impl Report {
    /// The whole report as text: circumstances, a table for each part and what each backend was, remarks. Ends with
    /// a line feed.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n", self.circumstances());
        for part in &self.parts {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\n{}\n{}\n", part.part.title(), figures_table(part));
            let width = part.backends.iter().map(|backend| backend.name.chars().count()).max().unwrap_or(0);
            for backend in &part.backends {
                let _ = writeln!(text, "{:width$}  {}", backend.name, backend.description);
            }
        }
        text.push_str(
            "\nRatios are medians of the ratios of each round; CPU is the time of the switch alone.\n",
        );
        for remark in self.remarks() {
            text.push_str(&remark);
            text.push('\n');
        }
        text
    }
}

/// One row per metric, one line per backend in it.
fn figures_table(part: &Results) -> Table {
    let baselines = part.part.baselines();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL.with_solid_inner_borders());
    let mut header: Vec<String> = ["", "backend", "median", "min–max"].map(str::to_owned).into();
    header.extend(baselines.iter().map(|(_, title)| format!("× {title}")));
    header.push("CPU".to_owned());
    table.set_header(header);
    for metric in compared(part) {
        let figures = part.figures(metric);
        let column = |line: &dyn Fn(&Figure<'_>) -> String| {
            Cell::new(figures.iter().map(line).collect::<Vec<_>>().join("\n"))
        };
        let number = |line: &dyn Fn(&Figure<'_>) -> String| column(line).set_alignment(CellAlignment::Right);
        let mut row = vec![
            Cell::new(heading(metric)),
            column(&|figure| figure.backend.name.clone()),
            number(&median),
            number(&range),
        ];
        row.extend(baselines.iter().map(|(name, _)| number(&|figure| ratio(figure.ratio_to(name)))));
        row.push(number(&cpu));
        table.add_row(row);
    }
    table
}

fn heading(metric: Metric) -> String {
    let sense = if metric.more_is_better() { "more" } else { "less" };
    format!("{}\n{}\n{sense} is better", metric.label(), metric.display_unit().0)
}

#[cfg(test)]
mod tests {
    use crate::bench::measure::{LINUX_BRIDGE, TWO_TAP_LOOP};
    use crate::bench::report::tests::of_backends;

    #[test]
    fn a_row_holds_median_range_ratios_and_cost() {
        let text = of_backends(&[("vswitch", 1.2), (TWO_TAP_LOOP, 1.5), (LINUX_BRIDGE, 1.0)]).table();
        let line = text.lines().find(|line| line.contains("TCP 1 stream")).unwrap();
        let cells: Vec<&str> = line.split('│').map(str::trim).collect();
        assert_eq!(
            cells,
            ["", "TCP 1 stream", "vswitch", "12.0", "9.60–14.4", "0.80", "1.20", "0.500 s/GB", ""]
        );
    }

    #[test]
    fn circumstances_and_backends_are_named() {
        let text = of_backends(&[("vswitch", 1.0), ("veth", 2.0)]).table();
        assert!(text.starts_with(
            "kernel 6.18.44, 2 CPUs, MTU 1500, congestion control bbr, pinning none; 3 rounds of 2 s"
        ));
        assert!(text.contains("\nvswitch  the vswitch <driver>\nveth     the veth <driver>\n"), "{text}");
        assert!(!text.contains("failed"));
    }

    #[test]
    fn columns_line_up() {
        let text = of_backends(&[("vswitch", 1.0), ("veth", 2.0)]).table();
        let widths: Vec<usize> = text
            .lines()
            .filter(|line| line.starts_with(['│', '├', '┌', '└']))
            .map(|line| line.chars().count())
            .collect();
        assert!(widths.len() > 20);
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
    }
}
