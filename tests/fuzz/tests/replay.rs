//! What was once found, and what is whole, thrown at the targets again.

use std::{fs, path::Path};

/// Of one target. It is kept in the repository, so it stays small.
const FILES_MAX: usize = 50;
const FILE_MAX_BYTES: u64 = 4 << 10;

#[test]
fn no_target_minds_what_the_corpus_holds() {
    for (name, target) in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|item| item.unwrap().path()).collect();
        files.sort();
        assert!((1..=FILES_MAX).contains(&files.len()), "{name} has {} files", files.len());
        for file in files {
            assert!(file.metadata().unwrap().len() <= FILE_MAX_BYTES, "{} is large", file.display());
            println!("{}", file.display());
            target(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_has_its_program_and_every_corpus_its_target() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in fuzz::TARGETS {
        assert!(here.join("libfuzzer/targets").join(name).with_extension("rs").exists(), "{name} has no program");
    }
    for item in fs::read_dir(here.join("corpus")).unwrap() {
        let folder = item.unwrap().file_name();
        assert!(fuzz::TARGETS.iter().any(|(name, _)| folder == **name), "{} has no target", folder.display());
    }
}
