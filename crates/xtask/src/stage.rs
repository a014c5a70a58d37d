//! The stages of `cargo xtask test`: what each runs and how long it may take.
//!
//! Everything is built with `--release --workspace`, so that all of it shares one build of RocksDB: another selection of packages
//! resolves to other features, and would build it again. For the same reason no stage sets RUSTFLAGS.

use std::process::Command;

use crate::packages::{self, Package};
use crate::unpacked::Unpacked;
use crate::workspace;

/// Compiling RocksDB on two cores.
const ROCKSDB_MINUTES: u64 = 16;

#[derive(Debug)]
pub struct Stage {
    pub name: &'static str,
    pub about: &'static str,
    /// Beside those that the build needs.
    pub packages: &'static [Package],
    minutes: u64,
    steps: fn() -> Vec<Step>,
}

impl PartialEq for Stage {
    fn eq(&self, other: &Stage) -> bool {
        self.name == other.name
    }
}

/// One command of a stage.
pub struct Step {
    pub name: &'static str,
    pub command: Command,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Prints closing lines of test binaries.
    Tests,
    /// Counts as one test.
    Check,
    /// Counts only when it fails.
    Preparation,
    /// Cannot run on this machine, for this reason.
    Missing(&'static str),
}

pub const ALL: &[Stage] = &[
    Stage {
        name: "unit",
        about: "format, lints, documentation, and every test that needs no running cluster",
        packages: &[],
        minutes: 5,
        steps: unit,
    },
    Stage {
        name: "sim",
        about: "the simulator: thousands of seeds under every fault, planted bugs that must be found",
        packages: &[],
        minutes: 9,
        steps: simulation,
    },
    Stage {
        name: "cluster",
        about: "real processes: kills, restarts, discovery, uploads, membership, snapshots, damaged disks, bad input",
        packages: &[],
        minutes: 6,
        steps: cluster,
    },
    Stage {
        name: "power",
        about: "power cuts of one node and of all under load; needs root, for file systems of its own",
        packages: packages::POWER,
        minutes: 5,
        steps: power,
    },
    Stage {
        name: "lan",
        about: "boards on a network inside this machine: formation, partitions, moving addresses, slow cards, attackers; needs root",
        packages: packages::LAN,
        minutes: 5,
        steps: lan,
    },
];

/// The rig's test files; each is a story of its own.
const CLUSTER_TESTS: &[&str] = &[
    "verbatim",
    "kills",
    "catch_up",
    "mdns",
    "uploads",
    "damage",
    "membership",
    "snapshots",
    "suspects",
    "collection",
    "recovery",
    "returning",
    "bad_input",
    "slow_sync",
    "closed",
    "limits",
];

/// The mDNS daemon of most boards, with its libraries.
const AVAHI: Unpacked = Unpacked {
    dir: "avahi",
    packages: &["avahi-daemon", "libavahi-core7", "libavahi-common3", "libdaemon0", "libdbus-1-3", "libexpat1", "libcap2"],
    program: "usr/sbin/avahi-daemon",
};

impl Stage {
    /// What to allow for, on the present state of the target directory.
    pub fn budget_minutes(&self) -> u64 {
        self.minutes + if workspace::rocksdb_is_built() { 0 } else { ROCKSDB_MINUTES }
    }

    pub fn steps(&self) -> Vec<Step> {
        (self.steps)()
    }
}

fn unit() -> Vec<Step> {
    let mut documentation = cargo(&["doc", "--release", "--workspace", "--no-deps", "--lib"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    vec![
        if_installed("cargo-fmt", Step { name: "fmt", command: cargo(&["fmt", "--all", "--check"]), kind: Kind::Check }),
        if_installed(
            "cargo-clippy",
            Step {
                name: "clippy",
                command: cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]),
                kind: Kind::Check,
            },
        ),
        Step { name: "doc", command: documentation, kind: Kind::Check },
        // Shown, because a test that cannot run on a machine says so in its output.
        Step {
            name: "test",
            command: cargo(&["test", "--release", "--workspace", "--no-fail-fast", "--", "--show-output"]),
            kind: Kind::Tests,
        },
    ]
}

/// What the simulator may take; compiling it comes on top.
const SIMULATION_MINUTES: &str = "8";

/// The command that runs the simulator. It needs no RocksDB, so it is the one selection of packages that builds none.
pub fn simulator(args: &[&str]) -> Command {
    let mut command = cargo(&["run", "--release", "--quiet", "--package", "sim", "--features", "planted", "--"]);
    command.args(args);
    command
}

fn simulation() -> Vec<Step> {
    let build = cargo(&["build", "--release", "--package", "sim", "--features", "planted"]);
    let run = simulator(&["stage", "--minutes", SIMULATION_MINUTES]);
    vec![Step { name: "build", command: build, kind: Kind::Preparation }, Step { name: "simulate", command: run, kind: Kind::Tests }]
}

fn cluster() -> Vec<Step> {
    vec![build(), rig_tests(CLUSTER_TESTS)]
}

fn power() -> Vec<Step> {
    // The ordinary build comes last, so that what lies in its place is never the control.
    let [control, keep] = control_build();
    vec![control, keep, build(), rig_tests(&["power"])]
}

fn lan() -> Vec<Step> {
    if let Err(complaint) = AVAHI.fetch() {
        // The one story that needs it says that it was left out.
        println!("{complaint}");
    }
    let [control, keep] = control_build();
    vec![control, keep, build(), rig_tests(&["stale_reads", "lan"])]
}

fn build() -> Step {
    Step { name: "build", command: cargo(&["build", "--release", "--workspace", "--bins"]), kind: Kind::Preparation }
}

/// A server that can be told to have a fault, for tests that must notice it: built, and put where the next build leaves it alone.
fn control_build() -> [Step; 2] {
    let build = cargo(&["build", "--release", "--workspace", "--features", "server/planted", "--bin", "server"]);
    // A copy: cargo links what it builds to other names, and a link would be changed with the original.
    let mut copy = Command::new("install");
    copy.arg("-D").arg(workspace::binary("server")).arg(workspace::target_dir().join("controls/server"));
    [Step { name: "control", command: build, kind: Kind::Preparation }, Step { name: "keep", command: copy, kind: Kind::Preparation }]
}

fn rig_tests(names: &[&str]) -> Step {
    let mut tests = cargo(&["test", "--release", "--workspace", "--no-fail-fast"]);
    for name in names {
        tests.args(["--test", name]);
    }
    // One at a time: each runs several nodes, and two clusters at once on a small machine would measure each other.
    tests.args(["--", "--ignored", "--test-threads", "1", "--show-output"]);
    Step { name: "test", command: tests, kind: Kind::Tests }
}

fn cargo(args: &[&str]) -> Command {
    let mut command = workspace::cargo();
    command.args(args);
    command
}

/// A minimal toolchain lacks some of cargo's subcommands. (rustup's stand-ins exist even then, so only running one tells.)
fn if_installed(tool: &'static str, step: Step) -> Step {
    let answers = || Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if packages::has_tool(tool) && answers() {
        return step;
    }
    Step { kind: Kind::Missing("this toolchain lacks it: rustup component add rustfmt clippy"), ..step }
}
