//! Names that are valid by construction: of networks, containers and interfaces.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::Serialize;

/// The longest name of a network or a container, in bytes: one DNS label, because both become host names.
pub const MAX_NAME_LEN: usize = 63;

/// The longest interface name in bytes: the kernel's `IFNAMSIZ` less its terminating zero.
pub const MAX_INTERFACE_NAME_LEN: usize = 15;

/// Why a text is no name. Its `Display` completes the sentence "`TEXT` is no name, because it …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text is longer than allowed.
    #[error("has {len} bytes where at most {max} fit")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The first character may not stand first.
    #[error("starts with `{0}`, not with a letter or a digit")]
    Start(char),
    /// A character may not occur at all.
    #[error("contains {0:?}")]
    Character(char),
    /// `.` and `..` are directories, which the kernel refuses as interface names.
    #[error("is the name of a directory")]
    Directory,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        // Lets maps keyed by name be searched with text that was never checked: an invalid name is simply absent.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// The name of a network: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most [`MAX_NAME_LEN`] bytes.
    NetworkName,
    check_object_name
);
name_type!(
    /// The name of a container: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most [`MAX_NAME_LEN`] bytes.
    ContainerName,
    check_object_name
);
name_type!(
    /// The name of a network interface inside a container: what the kernel's `dev_valid_name` accepts.
    InterfaceName,
    check_interface_name
);

fn check_object_name(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"_.-".contains(*c)) {
        return Err(NameError::Character(bad));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Start(first));
    }
    check_len(text, MAX_NAME_LEN)
}

/// `net/core/dev.c`, `dev_valid_name`: not empty, shorter than `IFNAMSIZ`, not `.` or `..`, no `/`, `:` or white space.
/// Control characters are refused besides, because they would garble every listing; `%` because the kernel
/// takes it as a pattern (`eth%d`) when a device is made.
fn check_interface_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text == "." || text == ".." {
        return Err(NameError::Directory);
    }
    if let Some(bad) = text.chars().find(|c| "/:%".contains(*c) || c.is_whitespace() || c.is_control()) {
        return Err(NameError::Character(bad));
    }
    check_len(text, MAX_INTERFACE_NAME_LEN)
}

fn check_len(text: &str, max: usize) -> Result<(), NameError> {
    if text.len() > max { Err(NameError::TooLong { len: text.len(), max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_are_dns_labels_and_a_little_more() {
        for good in ["a", "web", "web-1", "my_net.v2", "0", &"x".repeat(63)] {
            assert_eq!(good.parse::<NetworkName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        assert_eq!("".parse::<NetworkName>(), Err(NameError::Empty));
        assert_eq!("-a".parse::<NetworkName>(), Err(NameError::Start('-')));
        assert_eq!("a b".parse::<ContainerName>(), Err(NameError::Character(' ')));
        assert_eq!("naïve".parse::<ContainerName>(), Err(NameError::Character('ï')));
        assert_eq!("x".repeat(64).parse::<ContainerName>(), Err(NameError::TooLong { len: 64, max: 63 }));
    }

    #[test]
    fn interface_names_are_what_the_kernel_takes() {
        for good in ["eth0", "wan", "a-b_c.1", "123456789012345"] {
            assert!(good.parse::<InterfaceName>().is_ok(), "{good}");
        }
        assert_eq!("1234567890123456".parse::<InterfaceName>(), Err(NameError::TooLong { len: 16, max: 15 }));
        assert_eq!("..".parse::<InterfaceName>(), Err(NameError::Directory));
        assert_eq!("eth%d".parse::<InterfaceName>(), Err(NameError::Character('%')));
        assert_eq!("e/0".parse::<InterfaceName>(), Err(NameError::Character('/')));
        assert_eq!("e 0".parse::<InterfaceName>(), Err(NameError::Character(' ')));
    }
}
