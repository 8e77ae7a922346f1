//! Sorting more than fits in memory: sorted runs in a file without a name, then one merge of them all.
//!
//! A run is as much as the limit allows, so a terabyte of keys makes some thousand runs at the default limit, and the
//! merge holds one page of each. The files have no name from the start (`O_TMPFILE`): whatever ends the process, no
//! space stays taken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::core::ip::order::{Key, Key4, Key6};

/// Bytes of a run that the merge reads at once, at least.
const PAGE: usize = 4096;
/// And at most: more is not faster.
const LARGEST_PAGE: usize = 1 << 18;

/// Which way to sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// A key as the runs hold it.
trait Packed: Copy + Ord {
    /// Bytes on disk.
    const SIZE: usize;

    /// The key whose place in the order is the mirror image.
    fn mirrored(self) -> Self;
    fn write(self, out: &mut impl Write) -> io::Result<()>;
    /// Reads what `write` wrote, of `SIZE` bytes.
    fn read(bytes: &[u8]) -> Self;
    fn key(self) -> Key;
}

impl Packed for Key4 {
    const SIZE: usize = 8;

    fn mirrored(self) -> Self {
        Self(!self.0)
    }

    fn write(self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.0.to_le_bytes())
    }

    fn read(bytes: &[u8]) -> Self {
        Self(word(bytes))
    }

    fn key(self) -> Key {
        Key::V4(self)
    }
}

impl Packed for Key6 {
    const SIZE: usize = 17;

    fn mirrored(self) -> Self {
        Self(!self.0, !self.1, !self.2)
    }

    fn write(self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.0.to_le_bytes())?;
        out.write_all(&self.1.to_le_bytes())?;
        out.write_all(&[self.2])
    }

    fn read(bytes: &[u8]) -> Self {
        Self(word(bytes), word(&bytes[8..]), bytes[16])
    }

    fn key(self) -> Key {
        Key::V6(self)
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// Takes keys in any order and gives them back sorted.
#[derive(Debug)]
pub(super) struct Sorter {
    order: Order,
    /// Bytes of keys to hold.
    memory: usize,
    folder: PathBuf,
    v4: Runs<Key4>,
    v6: Runs<Key6>,
}

impl Sorter {
    pub(super) fn new(order: Order, memory: usize, folder: PathBuf) -> Self {
        Self { order, memory, folder, v4: Runs::new(), v6: Runs::new() }
    }

    /// Takes a key.
    #[inline]
    pub(super) fn push(&mut self, key: Key) -> io::Result<()> {
        let mirror = self.order == Order::Descending;
        match key {
            Key::V4(key) => self.v4.held.push(if mirror { key.mirrored() } else { key }),
            Key::V6(key) => self.v6.held.push(if mirror { key.mirrored() } else { key }),
        }
        if self.v4.bytes() + self.v6.bytes() >= self.memory {
            self.v4.spill(&self.folder)?;
            self.v6.spill(&self.folder)?;
        }
        Ok(())
    }

    /// Gives all keys, in order, to `emit`.
    pub(super) fn finish(mut self, mut emit: impl FnMut(Key) -> io::Result<()>) -> io::Result<()> {
        if self.v4.file.is_some() || self.v6.file.is_some() {
            // The pages of the merge take the place of the keys.
            self.v4.spill(&self.folder)?;
            self.v6.spill(&self.folder)?;
            self.v4.held = Vec::new();
            self.v6.held = Vec::new();
        }
        match self.order {
            Order::Ascending => {
                self.v4.merge(self.memory, |key| emit(key.key()))?;
                self.v6.merge(self.memory, |key| emit(key.key()))
            }
            Order::Descending => {
                self.v6.merge(self.memory, |key| emit(key.mirrored().key()))?;
                self.v4.merge(self.memory, |key| emit(key.mirrored().key()))
            }
        }
    }
}

/// The keys of one family: those in memory, and sorted runs one behind the other in a file.
#[derive(Debug)]
struct Runs<K> {
    held: Vec<K>,
    file: Option<File>,
    /// Where each run ends, in bytes.
    ends: Vec<u64>,
}

impl<K: Packed> Runs<K> {
    const fn new() -> Self {
        Self { held: Vec::new(), file: None, ends: Vec::new() }
    }

    const fn bytes(&self) -> usize {
        self.held.len() * size_of::<K>()
    }

    fn spill(&mut self, folder: &std::path::Path) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.held.sort_unstable();
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(folder)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))?,
        };
        let mut out = BufWriter::with_capacity(1 << 16, &file);
        self.held.iter().try_for_each(|key| key.write(&mut out))?;
        out.flush()?;
        drop(out);
        let before = self.ends.last().copied().unwrap_or(0);
        self.ends.push(before + (self.held.len() * K::SIZE) as u64);
        self.file = Some(file);
        self.held.clear();
        Ok(())
    }

    /// Gives all keys: those in memory, or else those of the runs.
    fn merge(mut self, memory: usize, mut emit: impl FnMut(K) -> io::Result<()>) -> io::Result<()> {
        self.held.sort_unstable();
        let Some(file) = self.file else {
            return self.held.into_iter().try_for_each(emit);
        };
        let page = (memory / self.ends.len().max(1)).clamp(PAGE, LARGEST_PAGE) / K::SIZE * K::SIZE;
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut runs: Vec<Run> =
            starts.zip(&self.ends).map(|(next, end)| Run { next, end: *end, page: Vec::new(), at: 0 }).collect();
        let mut heads: BinaryHeap<Reverse<(K, usize)>> = BinaryHeap::new();
        for (at, run) in runs.iter_mut().enumerate() {
            heads.extend(run.take(&file, page)?.map(|key| Reverse((key, at))));
        }
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((key, from)) = *head;
            match runs.get_mut(from).map_or(Ok(None), |run| run.take(&file, page))? {
                Some(next) => *head = Reverse((next, from)),
                None => drop(PeekMut::pop(head)),
            }
            emit(key)?;
        }
        Ok(())
    }
}

/// A sorted run in the file.
struct Run {
    /// Where its next page begins.
    next: u64,
    end: u64,
    page: Vec<u8>,
    /// How much of the page was taken.
    at: usize,
}

impl Run {
    fn take<K: Packed>(&mut self, file: &File, page: usize) -> io::Result<Option<K>> {
        if self.at == self.page.len() {
            let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
            self.page.resize(page.min(left), 0);
            file.read_exact_at(&mut self.page, self.next)?;
            self.next += self.page.len() as u64;
            self.at = 0;
        }
        let key = self.page.get(self.at..self.at + K::SIZE).map(K::read);
        self.at += if key.is_some() { K::SIZE } else { 0 };
        Ok(key)
    }
}
