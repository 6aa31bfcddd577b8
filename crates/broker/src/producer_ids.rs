//! Producer ids: given out once, over all restarts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kafka_protocol::ResponseError;

use crate::store;
use crate::sync::lock;

/// Ids are reserved on disk in blocks of this many; a restart skips the rest of one.
const BLOCK: i64 = 1_000;

#[derive(Debug)]
struct Block {
    next: i64,
    end: i64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    block: Mutex<Block>,
}

impl ProducerIds {
    /// Begins after what the file has reserved, and after `seen`, the highest id in any log.
    pub(crate) fn open(directory: &Path, seen: Option<i64>) -> io::Result<Self> {
        let path = directory.join("producer-ids");
        let reserved = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, format!("`{}` holds no number", path.display()))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let next = seen.map_or(reserved, |seen| reserved.max(seen.saturating_add(1)));
        Ok(Self { path, block: Mutex::new(Block { next, end: next }) })
    }

    pub(crate) fn next(&self) -> Result<i64, ResponseError> {
        let mut block = lock(&self.block);
        if block.next == block.end {
            let end = block.next.saturating_add(BLOCK);
            store::replace(&self.path, end.to_string().as_bytes()).map_err(|error| {
                tracing::error!(%error, "producer ids were not reserved");
                ResponseError::KafkaStorageError
            })?;
            block.end = end;
        }
        block.next += 1;
        Ok(block.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_given_out_once_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let mut given = Vec::new();
        for _ in 0..3 {
            let ids = ProducerIds::open(directory.path(), None).unwrap();
            given.extend((0..BLOCK + 2).map(|_| ids.next().unwrap()));
        }
        assert!(given.windows(2).all(|pair| pair[0] < pair[1]));
        let after = ProducerIds::open(directory.path(), Some(1_000_000)).unwrap();
        assert_eq!(after.next(), Ok(1_000_001));
    }
}
