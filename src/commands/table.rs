//! How results are printed: aligned columns for people, JSON for programs.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

/// Prints rows under headings, without lines, as `docker ps` and `ip` do.
pub(super) fn print_rows<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings);
    table.add_rows(rows);
    let last = N.saturating_sub(1);
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if place == last { 0 } else { 2 }));
    }
    let text = table.to_string();
    let mut stdout = io::stdout().lock();
    for line in text.lines() {
        writeln!(stdout, "{}", line.trim_end())?;
    }
    stdout.flush()
}

/// Prints a value as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, value)?;
    writeln!(stdout)?;
    stdout.flush()
}

/// Several values in one cell; `-` for none.
pub(super) fn list<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| value.as_ref().to_owned()).collect();
    if values.is_empty() { "-".to_owned() } else { values.join(",") }
}
