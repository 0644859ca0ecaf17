//! Typed access to the TOML tree: every value read keeps its span, every mismatch becomes a diagnostic and reads as absent.

use std::{fmt::Display, ops::RangeInclusive, rc::Rc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    suggest::nearest,
};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A table, its fields in the order of the text.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    /// As messages name it: `networks.front`; empty for the whole file.
    path: Rc<str>,
    fields: Vec<Field<'a>>,
}

/// A key and its value, or one element of an array under that key.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    pub(crate) key: &'a str,
    pub(crate) key_span: Span,
    section: Rc<str>,
    value: &'a Spanned<DeValue<'a>>,
    is_element: bool,
}

/// The keys of a kind of section.
pub(crate) struct Keys {
    /// Those that are read.
    pub(crate) known: &'static [&'static str],
    /// Those the design has and this version does not.
    pub(crate) planned: &'static [&'static str],
    /// Those people try, and what they are for or called here.
    pub(crate) foreign: &'static [(&'static str, &'static str)],
}

impl<'a> Section<'a> {
    pub(crate) fn new(path: &str, table: &'a DeTable<'a>) -> Self {
        let path: Rc<str> = path.into();
        let field = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &std::borrow::Cow<'a, str> = key.get_ref();
            Field { key: name, key_span: key.span(), section: Rc::clone(&path), value, is_element: false }
        };
        let mut fields: Vec<_> = table.iter().map(field).collect();
        fields.sort_by_key(|field| field.key_span.start);
        Self { path, fields }
    }

    /// The fields, in the order of the text.
    pub(crate) fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    pub(crate) fn field(&self, key: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// Reads the field `key` with `read`, if it is there.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        report: &mut Diagnostics,
        read: impl FnOnce(&Field<'a>, &mut Diagnostics) -> Option<T>,
    ) -> Option<T> {
        self.field(key).and_then(|field| read(field, report))
    }

    /// Reports every key that is not read.
    pub(crate) fn check_keys(&self, keys: &Keys, report: &mut Diagnostics) {
        for field in &self.fields {
            if !keys.known.contains(&field.key) {
                report.push(keys.refusal(field, &self.path));
            }
        }
    }
}

impl Keys {
    fn refusal(&self, field: &Field<'_>, path: &str) -> Diagnostic {
        let key = field.key.escape_debug();
        let what = if path.is_empty() { format!("`{key}`") } else { format!("`{key}` in `{path}`") };
        if self.planned.contains(&field.key) {
            return not_supported_yet(&what, field.key_span.clone());
        }
        let diagnostic = Diagnostic::new(
            format!("unknown key {what}"),
            field.key_span.clone(),
            "there is no such key here",
        );
        if let Some((_, advice)) = self.foreign.iter().find(|(key, _)| *key == field.key) {
            return diagnostic.help(*advice);
        }
        let foreign = self.foreign.iter().map(|(key, _)| *key);
        match nearest(field.key, self.known.iter().chain(self.planned).copied().chain(foreign)) {
            Some(key) => match self.foreign.iter().find(|(foreign, _)| *foreign == key) {
                Some((_, advice)) => diagnostic.help(*advice),
                None => diagnostic.help(format!("did you mean `{key}`?")),
            },
            None => diagnostic.help(format!("the keys here are {}", listed(self.known.iter()))),
        }
    }
}

/// The diagnostic for what the design has and this version does not.
pub(crate) fn not_supported_yet(what: &str, span: Span) -> Diagnostic {
    Diagnostic::new(
        format!("{what} is not supported yet"),
        span,
        "known, but this version of vswitch cannot do it",
    )
    .help("remove it; vswitch refuses what it cannot do rather than ignore it")
}

/// Names between back-quotes, with commas between.
pub(crate) fn listed<T: Display>(names: impl Iterator<Item = T>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl<'a> Field<'a> {
    /// As messages name it.
    pub(crate) fn what(&self) -> String {
        let key = self.key.escape_debug();
        let of = if self.is_element { "an element of " } else { "" };
        if self.section.is_empty() {
            format!("{of}`{key}`")
        } else {
            format!("{of}`{key}` of `{}`", self.section)
        }
    }

    /// As messages name it together with its value.
    pub(crate) fn assigned(&self, value: &str) -> String {
        format!("`{} = {value}` of `{}`", self.key, self.section)
    }

    /// Where its value stands; of a `[table]` that is its header.
    pub(crate) fn span(&self) -> Span {
        let span = self.value.span();
        // A table that only exists through `[its.children]` has no text of its own.
        if span.is_empty() { self.key_span.clone() } else { span }
    }

    pub(crate) fn string(&self, report: &mut Diagnostics) -> Option<At<&'a str>> {
        match self.value.get_ref() {
            DeValue::String(text) if text.contains('\0') => {
                let message = format!("{} contains a NUL character", self.what());
                report.push(
                    Diagnostic::new(message, self.span(), "no name, path or argument can hold one")
                        .help("remove the `\\u0000`"),
                );
                None
            }
            DeValue::String(text) => Some(At::new(text.as_ref(), self.span())),
            _ => self.mismatch("a string", report),
        }
    }

    /// A string that `T` can read; `example` completes the help "write it like …".
    pub(crate) fn parsed<T>(&self, kind: &str, example: &str, report: &mut Diagnostics) -> Option<At<T>>
    where
        T: std::str::FromStr,
        T::Err: Display,
    {
        let text = self.string(report)?;
        match text.value.parse() {
            Ok(value) => Some(At::new(value, text.span)),
            Err(error) => {
                let message = format!("{} is not {kind}", self.what());
                let diagnostic = Diagnostic::new(message, text.span, error.to_string());
                report.push(diagnostic.help(format!("write it like \"{example}\"")));
                None
            }
        }
    }

    pub(crate) fn boolean(&self, report: &mut Diagnostics) -> Option<At<bool>> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Some(At::new(*value, self.span())),
            _ => self.mismatch("true or false", report),
        }
    }

    /// An integer within `range`, in `T`, which must hold all of `range`.
    pub(crate) fn integer<T: TryFrom<i64>>(
        &self,
        range: RangeInclusive<i64>,
        report: &mut Diagnostics,
    ) -> Option<At<T>> {
        self.integer_because(range, None, report)
    }

    /// As [`Field::integer`]; `reason` is the help for one out of range.
    pub(crate) fn integer_because<T: TryFrom<i64>>(
        &self,
        range: RangeInclusive<i64>,
        reason: Option<&str>,
        report: &mut Diagnostics,
    ) -> Option<At<T>> {
        let DeValue::Integer(integer) = self.value.get_ref() else {
            return self.mismatch("an integer", report);
        };
        let value = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.filter(|value| range.contains(value)).and_then(|value| T::try_from(value).ok());
        if value.is_none() {
            let (low, high) = (range.start(), range.end());
            let message = format!("{} is out of range", self.what());
            let diagnostic = Diagnostic::new(message, self.span(), format!("must be from {low} to {high}"));
            report.push(match reason {
                Some(reason) => diagnostic.help(reason),
                None => diagnostic,
            });
        }
        value.map(|value| At::new(value, self.span()))
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &self,
        words: &[(&str, T)],
        planned: &[&str],
        report: &mut Diagnostics,
    ) -> Option<At<T>> {
        let text = self.string(report)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(At::new(*value, text.span));
        }
        if planned.contains(&text.value) {
            report.push(not_supported_yet(&self.assigned(&format!("\"{}\"", text.value)), text.span));
            return None;
        }
        let all = words.iter().map(|(word, _)| *word);
        let message = format!("{} cannot be `{}`", self.what(), text.value.escape_debug());
        let diagnostic = Diagnostic::new(message, text.span, "no such value");
        report.push(match nearest(text.value, all.clone().chain(planned.iter().copied())) {
            Some(word) => diagnostic.help(format!("did you mean \"{word}\"?")),
            None => diagnostic.help(format!("it can be {}", listed(all))),
        });
        None
    }

    /// A table.
    pub(crate) fn section(&self, report: &mut Diagnostics) -> Option<Section<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => {
                let dot = if self.section.is_empty() { "" } else { "." };
                Some(Section::new(&format!("{}{dot}{}", self.section, self.key.escape_debug()), table))
            }
            _ => self.mismatch("a table", report),
        }
    }

    /// An array, each element as a field of its own.
    pub(crate) fn elements(&self, report: &mut Diagnostics) -> Option<Vec<Field<'a>>> {
        self.as_elements().or_else(|| self.mismatch("an array", report))
    }

    /// The elements, if the value is an array.
    pub(crate) fn as_elements(&self) -> Option<Vec<Field<'a>>> {
        let DeValue::Array(array) = self.value.get_ref() else { return None };
        Some(array.iter().map(|value| Field { value, is_element: true, ..self.clone() }).collect())
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(crate) fn is_boolean(&self) -> bool {
        self.value.get_ref().is_bool()
    }

    /// The text, if the value is a string.
    pub(crate) fn as_str(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// An array of strings.
    pub(crate) fn strings(&self, report: &mut Diagnostics) -> Option<Vec<At<&'a str>>> {
        let elements = self.elements(report)?;
        Some(elements.iter().filter_map(|element| element.string(report)).collect())
    }

    /// A string, or an integer or boolean written as one, as environments and labels may have.
    pub(crate) fn scalar(&self, report: &mut Diagnostics) -> Option<String> {
        match self.value.get_ref() {
            DeValue::Integer(value) => Some(value.to_string()),
            DeValue::Boolean(value) => Some(value.to_string()),
            DeValue::String(_) => self.string(report).map(|text| text.value.to_owned()),
            _ => self.mismatch("a string", report),
        }
    }

    /// Reports that the value is not `expected`.
    pub(crate) fn mismatch<T>(&self, expected: &str, report: &mut Diagnostics) -> Option<T> {
        let value = self.value.get_ref();
        let found = value.type_str();
        let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
        let message = format!("{} must be {expected}", self.what());
        let diagnostic =
            Diagnostic::new(message, self.span(), format!("expected {expected}, found {article} {found}"));
        report.push(match (expected, value) {
            ("a string", DeValue::Integer(_) | DeValue::Boolean(_)) => {
                diagnostic.help("put it in quotation marks")
            }
            ("an integer" | "true or false", DeValue::String(text))
                if text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok() =>
            {
                diagnostic.help(format!("leave out the quotation marks: {text}"))
            }
            ("an array", DeValue::String(text)) => {
                diagnostic.help(format!("put it in brackets: [\"{text}\"]"))
            }
            _ => diagnostic,
        });
        None
    }
}
