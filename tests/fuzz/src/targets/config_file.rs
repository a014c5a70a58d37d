//! A configuration file, as an operator or a tool wrote it.

use std::{cell::OnceCell, ffi::OsString};

use crate::{
    config::{self, Request, Surroundings},
    shelf::Shelf,
};

thread_local! {
    static SHELF: OnceCell<Shelf> = const { OnceCell::new() };
}

/// A configuration, or faults that can be told.
pub fn config_file(bytes: &[u8]) {
    let path = SHELF.with(|shelf| shelf.get_or_init(Shelf::new).put("node.toml", bytes));
    let around = Surroundings {
        default_file: path.with_file_name("rusty-kv.toml"),
        vars: vec![(OsString::from("HOME"), OsString::from("/nonexistent"))],
        hostname: "pi1".to_owned(),
    };
    let request = Request { file: Some(path), flags: Vec::new() };
    if let Err(error) = config::load(&request, &around) {
        assert!(!error.to_string().is_empty(), "a fault without a word");
    }
}
