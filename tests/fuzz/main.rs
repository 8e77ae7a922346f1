//! The kept inputs of the fuzz targets, through the same code that the engine drives.
#![allow(clippy::unwrap_used)]

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_is_taken_without_a_fault() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut folders: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    folders.sort();
    let mut names: Vec<_> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(folders, names, "each target has its folder in fuzz/corpus, and each folder its target");
    for (name, target) in targets::TARGETS {
        let inputs: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "{name} has no input");
        for input in inputs {
            target(&fs::read(input).unwrap());
        }
    }
}
