//! Licences of dependencies: an SPDX expression held against a list.

/// Whether `expression` can be satisfied by licences of `allowed` alone. `/`, as old manifests write it, is
/// `OR`; `X WITH Y` must be on the list as it stands. An expression that cannot be read is not satisfied.
pub(crate) fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { tokens: &tokens, allowed };
    reader.any_of().is_some_and(|satisfied| satisfied && reader.tokens.is_empty())
}

struct Reader<'a> {
    tokens: &'a [&'a str],
    allowed: &'a [String],
}

impl Reader<'_> {
    fn any_of(&mut self) -> Option<bool> {
        let mut satisfied = self.all_of()?;
        while self.skip("OR") {
            satisfied |= self.all_of()?;
        }
        Some(satisfied)
    }

    fn all_of(&mut self) -> Option<bool> {
        let mut satisfied = self.one()?;
        while self.skip("AND") {
            satisfied &= self.one()?;
        }
        Some(satisfied)
    }

    fn one(&mut self) -> Option<bool> {
        if self.skip("(") {
            let satisfied = self.any_of()?;
            return self.skip(")").then_some(satisfied);
        }
        let mut licence = (*self.next()?).to_owned();
        if self.skip("WITH") {
            licence = format!("{licence} WITH {}", self.next()?);
        }
        Some(self.allowed.contains(&licence))
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.tokens.first() == Some(&word);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn next(&mut self) -> Option<&str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }
}

#[test]
fn expressions_mean_what_spdx_says() {
    let allowed = ["MIT".to_owned(), "Zlib".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    for yes in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "MIT AND Zlib",
        "(GPL-3.0 OR MIT) AND Zlib",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        "GPL-3.0 AND X OR MIT",
    ] {
        assert!(satisfied(yes, &allowed), "{yes}");
    }
    for no in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Zlib) AND GPL-3.0",
        "Apache-2.0",
        "",
        "MIT MIT",
        "(MIT",
        "Apache-2.0 WITH Other-exception",
        "MIT AND (GPL-3.0 OR X)",
    ] {
        assert!(!satisfied(no, &allowed), "{no}");
    }
}
