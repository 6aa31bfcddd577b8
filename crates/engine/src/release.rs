//! Which ClickHouse may open which folder: the release that last ran on a folder is kept in it.

use std::fmt;

/// A release of ClickHouse, by the two numbers that its data formats go by: `26.7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    year: u16,
    number: u16,
}

/// The first release whose local server can listen.
pub(crate) const OLDEST: Release = Release { year: 26, number: 7 };

impl Release {
    /// Reads `26.7`, `26.7.2.1`, `v26.7.3-stable`, or a sentence with such a word in it.
    pub(crate) fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut numbers = word.trim_start_matches('v').split(|char: char| !char.is_ascii_digit());
            let year = numbers.next()?.parse().ok()?;
            let number = numbers.next()?.parse().ok()?;
            Some(Self { year, number })
        })
    }

    /// Whether this release may run on a folder that `last` was the last to run on; if not, why.
    pub(crate) fn may_open(self, last: Option<Self>) -> Result<(), String> {
        if self < OLDEST {
            return Err(format!("this is ClickHouse {self}; Tidegate needs {OLDEST} or newer"));
        }
        match last {
            Some(last) if last > self => Err(format!(
                "it was written by ClickHouse {last} and this is {self}, which may not understand it; \
                 use {last} or newer, or another folder"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.year, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn release(text: &str) -> Release {
        Release::find(text).unwrap_or_else(|| panic!("no release in `{text}`"))
    }

    #[test]
    fn a_release_is_found_in_what_programs_say_of_themselves() {
        for text in ["26.7", "26.7.3", "26.7.2.1\n", "v26.7.2.1-stable", "ClickHouse local version 26.7.2.1."]
        {
            assert_eq!(release(text).to_string(), "26.7", "{text}");
        }
        for text in ["", "x", "26", "v", "26.", ".7", "99999999.1"] {
            assert_eq!(Release::find(text), None, "{text}");
        }
    }

    #[test]
    fn a_folder_of_a_newer_release_is_not_opened() {
        assert_eq!(release("26.7").may_open(None), Ok(()));
        assert_eq!(release("26.8").may_open(Some(release("26.7"))), Ok(()));
        assert_eq!(release("27.1").may_open(Some(release("26.12"))), Ok(()));
        let refused = release("26.7").may_open(Some(release("26.12"))).unwrap_err();
        assert!(refused.contains("26.12 or newer"), "{refused}");
    }

    #[test]
    fn a_release_that_cannot_listen_is_refused() {
        assert!(release("26.5.3").may_open(None).unwrap_err().contains("needs 26.7"));
    }
}
