//! Debian packages that the build needs beside git, rustup and gcc, and those that single stages need.
//!
//! Looks first, so that a complete machine runs no package manager and needs no network. Every command is printed before it runs.
//! Elsewhere than on Debian it names what is missing and lets the build have its say.

use std::env;
use std::path::Path;
use std::process::Command;

#[derive(Debug)]
pub struct Package {
    name: &'static str,
    why: &'static str,
    present: fn() -> bool,
}

/// Needed by whoever builds.
pub const BUILD: &[Package] = &[
    Package { name: "g++", why: "compiles RocksDB", present: || has_tool("g++") || has_tool("c++") },
    Package { name: "clang", why: "headers for reading RocksDB's C interface", present: || has_tool("clang") },
    Package { name: "libclang-dev", why: "reads RocksDB's C interface", present: has_libclang },
    Package { name: "protobuf-compiler", why: "compiles proto/", present: || has_tool("protoc") },
];

/// Needed where nodes lose power.
pub const POWER: &[Package] = &[
    Package { name: "e2fsprogs", why: "formats the cards that lose power", present: || has_system_tool("mkfs.ext4") },
    Package { name: "libeatmydata1", why: "swallows syncs, to see that the loss is noticed", present: || has_library("libeatmydata.so") },
];

/// Needed where nodes have a network of their own.
pub const LAN: &[Package] =
    &[Package { name: "iproute2", why: "makes networks for boards inside this machine", present: || has_system_tool("ip") }];

/// Installs what is missing of `needed`.
pub fn install_missing(needed: &[Package]) -> Result<(), String> {
    let missing: Vec<&Package> = needed.iter().filter(|package| !(package.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        println!("missing: {} ({})", package.name, package.why);
    }
    if !has_tool("apt-get") {
        println!("no apt-get here: install these yourself if something fails");
        return Ok(());
    }
    apt_get(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(missing.iter().map(|package| package.name));
    apt_get(&install)
}

pub fn apt_get(args: &[&str]) -> Result<(), String> {
    let mut words = if is_root() { vec!["apt-get"] } else { vec!["sudo", "apt-get"] };
    words.extend(args);
    let line = words.join(" ");
    println!("+ {line}");
    let status = Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive").status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("'{line}' failed ({status}); run it yourself, then try again")),
        Err(error) => Err(format!("'{line}' did not start ({error}); as root, run: apt-get {}", args.join(" "))),
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

pub fn has_tool(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

/// Also where only root's path leads.
fn has_system_tool(name: &str) -> bool {
    has_tool(name) || ["/usr/sbin", "/sbin"].into_iter().any(|dir| Path::new(dir).join(name).is_file())
}

fn has_library(name: &str) -> bool {
    let root = Path::new("/usr/lib");
    std::iter::once(root.to_path_buf()).chain(subdirectories(root)).any(|dir| dir.join(name).is_file())
}

/// In the places where the RocksDB crate's bindgen looks for it.
fn has_libclang() -> bool {
    if let Some(named) = env::var_os("LIBCLANG_PATH") {
        return Path::new(&named).exists();
    }
    let library_dirs = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].into_iter().map(Path::new);
    library_dirs.flat_map(|dir| std::iter::once(dir.to_path_buf()).chain(subdirectories(dir))).any(|dir| {
        let llvm_lib = dir.join("lib");
        holds_libclang(&dir) || holds_libclang(&llvm_lib)
    })
}

fn subdirectories(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn holds_libclang(dir: &Path) -> bool {
    std::fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // `libclang-cpp.so` is another library.
        name == "libclang.so"
            || name.starts_with("libclang.so.")
            || (name.starts_with("libclang-") && name.ends_with(".so") && !name.contains("cpp"))
    })
}
