//! Just enough of Rust's grammar to ask what a file's code names: comments and literals blanked, tests cut
//! out, `use` trees written out. Not a parser; where it cannot tell, it keeps more code, not less.

/// The source with comments, strings and character literals replaced by blanks; lines keep their numbers.
pub(crate) fn blanked(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => source[at..].find('\n').map_or(bytes.len(), |length| at + length),
            [b'/', b'*', ..] => block_comment_end(bytes, at),
            [b'"', ..] => string_end(bytes, at + 1),
            [b'r', b'"' | b'#', ..] if !continues_a_word(bytes, at) => raw_string_end(source, at),
            [b'\'', b'\\', ..] => bytes[at + 3..].iter().position(|b| *b == b'\'').map_or(at, |n| at + n + 4),
            [b'\'', ..] => char_end(source, at),
            _ => at,
        };
        if end <= at {
            at += 1;
            continue;
        }
        let end = end.min(bytes.len());
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    // What is left of a non-ASCII character is whole: only whole literals and comments were blanked.
    String::from_utf8_lossy(&out).into_owned()
}

/// Blanked code without the items behind `#[cfg(test)]`.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at + MARK.len()..];
        let length = item_length(item);
        // Lines keep their numbers.
        out.extend(item[..length].chars().filter(|c| *c == '\n'));
        rest = &item[length..];
    }
    out + rest
}

/// Every path of blanked code, `use` trees written out: `use a::{b, c::d};` gives `a::b` and `a::c::d`.
pub(crate) fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(is_word) {
        let begins = &rest[at..];
        let length = begins.find(|c| !is_word(c)).unwrap_or(begins.len());
        if &begins[..length] == "use" {
            let tree = &begins[length..];
            let end = tree.find(';').unwrap_or(tree.len());
            expand("", &tree[..end], &mut found);
            rest = &tree[end..];
            continue;
        }
        let length = begins.find(|c| !is_word(c) && c != ':').unwrap_or(begins.len());
        let path = begins[..length].trim_end_matches(':');
        found.push(if begins[length..].starts_with('!') { format!("{path}!") } else { path.to_owned() });
        rest = &begins[length..];
    }
    found
}

fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        found.push(format!("{prefix}{}", path.trim().trim_end_matches("::self")));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &inner[begin..at], found);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if !inner[begin..].trim().is_empty() {
        expand(&prefix, &inner[begin..], found);
    }
}

/// Up to and with the item's `;` or its closing brace.
fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    item.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn continues_a_word(bytes: &[u8], at: usize) -> bool {
    // `br"…"` and `cr"…"` are literals too.
    let before = at.checked_sub(1).map(|before| bytes[before]);
    before.is_some_and(|byte| (byte.is_ascii_alphanumeric() || byte == b'_') && byte != b'b' && byte != b'c')
}

fn block_comment_end(bytes: &[u8], begin: usize) -> usize {
    let (mut depth, mut at) = (0, begin);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Where `r"…"` or `r#"…"#` ends; `begin` when it is a raw identifier.
fn raw_string_end(source: &str, begin: usize) -> usize {
    let behind = &source[begin + 1..];
    let hashes = behind.bytes().take_while(|byte| *byte == b'#').count();
    let Some(content) = behind[hashes..].strip_prefix('"') else { return begin };
    let close = format!("\"{}", "#".repeat(hashes));
    let length = content.find(&close).unwrap_or(content.len());
    begin + 1 + hashes + 1 + length + close.len()
}

/// Where `'x'` ends; `begin` when it is a lifetime.
fn char_end(source: &str, begin: usize) -> usize {
    let mut chars = source[begin + 1..].char_indices();
    match (chars.next(), chars.next()) {
        (Some(_), Some((at, '\''))) => begin + 1 + at + 1,
        _ => begin,
    }
}

#[test]
fn comments_and_literals_are_no_code() {
    let source = r####"
        // unsafe
        /* unsafe /* unsafe */ unsafe */
        let a = "unsafe \" unsafe"; let b = r#"unsafe " "#; let c = b"unsafe";
        let d = '"'; let e = '\''; let f: &'static str = "unsafe"; fn g<'a>(x: &'a str) {} let h = 'u';
    "####;
    assert!(!paths(&blanked(source)).iter().any(|path| path.contains("unsafe")), "{}", blanked(source));
    assert!(paths(&blanked("// x\nunsafe { f('a') }")).contains(&"unsafe".to_owned()));
    assert_eq!(blanked(source).lines().count(), source.lines().count());
}

#[test]
fn test_modules_are_cut_out_and_what_follows_stays() {
    let source = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { if x { y } } }\nfn c() {}\n#[cfg(test)]\nmod t;\nfn d() {}";
    let code = without_tests(source);
    assert!(code.contains("fn a") && code.contains("fn c") && code.contains("fn d"));
    assert!(!code.contains("fn b") && !code.contains("mod t"));
    assert!(!without_tests("#[cfg(test)]\nfn f(a: [u8; 2]) { g() } fn h() {}").contains("g()"));
}

#[test]
fn use_trees_are_written_out() {
    let code = "use std::{fmt, net::{IpAddr, TcpStream as S}, thread::{self, spawn}}; let x = std::env::var(); println!(x)";
    let found = paths(code);
    for path in
        ["std::fmt", "std::net::IpAddr", "std::net::TcpStream", "std::thread", "std::env::var", "println!"]
    {
        assert!(
            found.iter().any(|p| p == path || p.starts_with(&format!("{path}::"))),
            "{path} in {found:?}"
        );
    }
}
