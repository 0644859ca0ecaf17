//! What is wrong with a configuration file, and where; shown as rustc shows it.

use std::{fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet, renderer::DecorStyle};
use serde::Serialize;

use crate::Source;

/// A range of bytes of the source text.
pub type Span = Range<usize>;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    message: String,
    span: Span,
    label: String,
    related: Vec<(Span, String)>,
    help: Option<String>,
}

impl Diagnostic {
    /// `message` says what is wrong in a sentence of its own; `label` stands under the text at `span` and says what that text is.
    pub(crate) fn new(message: impl Into<String>, span: Span, label: impl Into<String>) -> Self {
        Self { message: message.into(), span, label: label.into(), related: Vec::new(), help: None }
    }

    /// Points at a second place that plays a part.
    pub(crate) fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Says what would be right.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// The other places that play a part.
    pub fn related(&self) -> impl Iterator<Item = Span> {
        self.related.iter().map(|(span, _)| span.clone())
    }

    /// What would be right.
    #[must_use]
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// Everything that is wrong with one file, in the order of the text; never empty when [`crate::load`] returns it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Checks ran by topic; people read from top to bottom.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// As text for people: message, file, line and column, the text underlined, the fix. `source` must be what was
    /// loaded. Ends with a newline.
    #[must_use]
    pub fn render(&self, source: &Source, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for diagnostic in &self.0 {
            text.push_str(&render_one(diagnostic, source, &renderer));
            text.push_str("\n\n");
        }
        let count = self.len();
        let plural = if count == 1 { "" } else { "s" };
        text.push_str(&format!("{count} error{plural} in {}\n", source.name));
        text
    }

    /// As records for programs, with lines and columns.
    #[must_use]
    pub fn located(&self, source: &Source) -> Vec<Located> {
        let lines = LineIndex::new(&source.text);
        let locate = |diagnostic: &Diagnostic| Located {
            file: source.name.clone(),
            place: lines.place(&diagnostic.span),
            message: diagnostic.message.clone(),
            label: diagnostic.label.clone(),
            related: diagnostic
                .related
                .iter()
                .map(|(span, label)| Related { place: lines.place(span), label: label.clone() })
                .collect(),
            help: diagnostic.help.clone(),
        };
        self.0.iter().map(locate).collect()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The messages alone, one a line; [`Diagnostics::render`] needs the source as well.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&diagnostic.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A [`Diagnostic`] for programs to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located {
    /// The file's name as given in [`Source`].
    pub file: String,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What stands there.
    pub label: String,
    /// Further places that play a part.
    pub related: Vec<Related>,
    /// What would be right.
    pub help: Option<String>,
}

/// A second place that plays a part in a [`Located`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What stands there.
    pub label: String,
}

/// A range of the text. Lines and columns count from 1, columns in characters; the end is the first column after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// First line.
    pub line: usize,
    /// First column.
    pub column: usize,
    /// Last line.
    pub end_line: usize,
    /// Column after the last.
    pub end_column: usize,
}

fn render_one(diagnostic: &Diagnostic, source: &Source, renderer: &Renderer) -> String {
    let text = source.text.as_str();
    let context = diagnostic
        .related
        .iter()
        .map(|(span, label)| AnnotationKind::Context.span(within(text, span)).label(label));
    let snippet = Snippet::source(text)
        .path(source.name.as_str())
        .annotation(AnnotationKind::Primary.span(within(text, &diagnostic.span)).label(&diagnostic.label))
        .annotations(context);
    let group = Level::ERROR.primary_title(&diagnostic.message).element(snippet);
    let group = match &diagnostic.help {
        Some(help) => group.element(Element::from(Level::HELP.message(help))),
        None => group,
    };
    renderer.render(&[group])
}

/// The part of `span` that is inside `text` and on character boundaries, as the renderer demands; the TOML parser's
/// own spans may end in the midst of a character it did not expect.
fn within(text: &str, span: &Span) -> Span {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    start..end
}

struct LineIndex<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn place(&self, span: &Span) -> Place {
        let span = within(self.text, span);
        let (line, column) = self.position(span.start);
        let (end_line, end_column) = self.position(span.end);
        Place { line, column, end_line, end_column }
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        (line, self.text[start..offset].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source { name: "x.toml".into(), text: "a = 1\nü = \"größe\"\n".into() };
        let start = source.text.find('"').expect("there is a quote");
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(Diagnostic::new("m", start..start + 9, "l"));
        let place = diagnostics.located(&source)[0].place;
        assert_eq!(place, Place { line: 2, column: 5, end_line: 2, end_column: 12 });
    }

    #[test]
    fn spans_beyond_the_text_are_cut() {
        let source = Source { name: "x.toml".into(), text: "ü".into() };
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(Diagnostic::new("m", 1..40, "l"));
        diagnostics.push(Diagnostic::new("m", 30..40, "l"));
        assert!(diagnostics.render(&source, false).contains("x.toml:1:1"));
        assert_eq!(diagnostics.located(&source)[1].place.column, 2);
    }
}
