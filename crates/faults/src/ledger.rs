//! What was published: a file a topic's life, written by the producer's own acknowledgements. It knows nothing of
//! the sink.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};

/// What must become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Row,
    Letter,
}

/// What a record is; decided by its number alone, so that the checker makes it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A row.
    Good,
    /// Its JSON ends too early.
    Broken,
    /// A value that its column does not take.
    WrongType,
    /// A value that only the server refuses, by the table's constraint.
    Unwelcome,
}

impl Kind {
    /// The kind of a record in a topic that has bad ones too.
    pub(crate) const fn of(n: u64) -> Self {
        match n % 211 {
            17 => Self::Broken,
            56 | 57 => Self::WrongType,
            113 => Self::Unwelcome,
            _ => Self::Good,
        }
    }

    pub(crate) const fn fate(self) -> Fate {
        match self {
            Self::Good => Fate::Row,
            Self::Broken | Self::WrongType | Self::Unwelcome => Fate::Letter,
        }
    }

    /// The value of record `n`.
    pub(crate) fn value(self, n: u64) -> String {
        match self {
            Self::Good => format!(r#"{{"n":{n},"pad":"{n:0>200}","mark":"keep"}}"#),
            Self::Broken => format!(r#"{{"n":{n},"pad":"#),
            Self::WrongType => format!(r#"{{"n":"number {n}","pad":"","mark":"keep"}}"#),
            Self::Unwelcome => format!(r#"{{"n":{n},"pad":"{n:0>200}","mark":"refuse"}}"#),
        }
    }
}

/// A ledger that is being written.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: Mutex<File>,
}

impl Ledger {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path).with_context(|| format!("create ledger {}", path.display()))?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// A record is about to be sent: from here on it may be in the topic.
    pub(crate) fn sent(&self, partition: i32, n: u64) -> io::Result<()> {
        self.write(&format!("sent\t{partition}\t{n}\n"))
    }

    /// Kafka has it.
    pub(crate) fn acknowledged(&self, partition: i32, n: u64, offset: i64) -> io::Result<()> {
        self.write(&format!("acked\t{partition}\t{n}\t{offset}\n"))
    }

    fn write(&self, line: &str) -> io::Result<()> {
        // A panic while the lock was held leaves at worst half a line, which `read` refuses.
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }
}

/// What Kafka said of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing: it may be there or not.
    Nothing,
    /// It is there. Where, an answer does not say that finds the record there already, since an earlier one was lost.
    Somewhere,
    /// It is at this offset.
    At(i64),
}

/// A record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) n: u64,
    pub(crate) partition: i32,
    pub(crate) answer: Answer,
}

/// Everything that a ledger says was sent, in the order of sending.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Published>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read ledger {}", path.display()))?;
    parse(&text).with_context(|| format!("read ledger {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Vec<Published>> {
    let (mut all, mut places) = (Vec::<Published>::new(), HashMap::new());
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["sent", partition, n] => {
                let (n, partition) = (n.parse()?, partition.parse()?);
                let published = Published { n, partition, answer: Answer::Nothing };
                places.insert(published.n, all.len());
                all.push(published);
            }
            ["acked", _, n, offset] => {
                let place = places.get(&n.parse()?).with_context(|| format!("`{line}` was never sent"))?;
                let offset: i64 = offset.parse()?;
                all[*place].answer = if offset < 0 { Answer::Somewhere } else { Answer::At(offset) };
            }
            _ => bail!("`{line}` is no line of a ledger"),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_finds_its_record_and_one_without_a_record_is_an_error() {
        let all = parse("sent\t1\t7\nsent\t0\t8\nacked\t0\t8\t3\nsent\t0\t9\nacked\t0\t9\t-1001\n").unwrap();
        let place = |n, partition, answer| Published { n, partition, answer };
        let known = place(8, 0, Answer::At(3));
        assert_eq!(all, [place(7, 1, Answer::Nothing), known, place(9, 0, Answer::Somewhere)]);
        assert!(parse("acked\t0\t8\t3\n").is_err());
        assert!(parse("sent\t0\n").is_err());
    }
}
