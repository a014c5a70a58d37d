//! `cargo xtask demo`: three nodes find each other, keep a photograph, lose their leader, and give the photograph back.
//!
//! Everything happens on loopback and in a temporary directory that is removed again, also after Ctrl+C. Fails if any step does not
//! do what the text says.

use std::fs;
use std::io::{IsTerminal, Write};
use std::process::{Child, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::nodes::{self, COUNT, Nodes, View, name};
use crate::packages;
use crate::workspace;

const PHOTO: &str = "tests/photo/astronaut.png";
const KEY: &str = "photos/astronaut";
const POLL_MS: u64 = 20;
/// What to give a small board; a desktop needs a hundredth of it.
const FAILOVER_LIMIT_S: u64 = 30;
const LOG_TAIL_LINES: usize = 15;

pub fn run() -> ExitCode {
    let prepared = packages::install_missing().and_then(|()| build());
    match prepared.and_then(|()| tell()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("demo failed: {complaint}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let wait = if workspace::rocksdb_is_built() { "" } else { " (RocksDB compiles once: 5 to 20 minutes)" };
    println!("Building{wait} ...");
    // The same selection as the tests, so that both share one RocksDB.
    let status = workspace::cargo().args(["build", "--release", "--workspace", "--bins"]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the build failed ({status})")),
        Err(error) => Err(format!("cargo did not start: {error}")),
    }
}

fn tell() -> Result<(), String> {
    let mut nodes = Nodes::start()?;
    let told = story(&mut nodes);
    if told.is_err() {
        eprintln!("{}", nodes.log_tails(LOG_TAIL_LINES));
    }
    told
}

fn story(nodes: &mut Nodes) -> Result<(), String> {
    let photo_path = workspace::root().join(PHOTO);
    let photo = fs::read(&photo_path).map_err(|error| format!("{}: {error}", photo_path.display()))?;

    println!("\n1. Three nodes start. None is told of another; they find each other by mDNS on loopback.");
    for index in nodes.living() {
        println!("   {} on port {}", name(index), nodes.port(index));
    }
    let formation = form(nodes)?;
    let before = agreed_view(nodes)?;
    let leader = before.leader.expect("agreed on one");
    println!("   one cluster after {:.1} s; {} leads in term {}", formation.as_secs_f64(), name(leader), before.term);

    println!("\n2. A photograph of {} bytes is uploaded; each node keeps a copy.", photo.len());
    let mut upload = nodes.client(&nodes.living());
    // Progress is the client's own; it shows on a terminal only.
    upload.args(["upload", KEY]).arg(&photo_path).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    nodes::succeeded("upload", upload.output())?;

    println!("\n3. The leader, {}, is killed with SIGKILL.", name(leader));
    let killed = Instant::now();
    nodes.kill(leader)?;
    let survivors = nodes.living();
    let mut write = nodes.client(&survivors);
    write.args(["--timeout", &format!("{FAILOVER_LIMIT_S}s"), "set", "written-after-the-kill", "yes"]);
    write.stdout(Stdio::null()).stderr(Stdio::piped());
    let write = write.spawn().map_err(|error| format!("client: {error}"))?;
    let failover = watch_election(nodes, &before, killed, write)?;
    let after = agreed_view(nodes)?;
    let new_leader = after.leader.expect("agreed on one");
    if new_leader == leader || after.term <= before.term {
        return Err(format!("nobody was elected: {after:?} after {before:?}"));
    }

    let follower = survivors.into_iter().find(|index| *index != new_leader).expect("two survived");
    println!("\n4. The photograph is downloaded from {}, a follower.", name(follower));
    let restored_path = nodes.dir().join("restored.png");
    let mut download = nodes.client(&[follower]);
    download.args(["download", KEY]).arg(&restored_path).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    nodes::succeeded("download", download.output())?;
    let restored = fs::read(&restored_path).map_err(|error| format!("{}: {error}", restored_path.display()))?;
    if restored != photo {
        return Err("the downloaded photograph differs from the uploaded one".into());
    }
    println!("   {} bytes, identical to the original", restored.len());
    nodes.check_alive()?;

    println!(
        "\n{} was lost and {} took over in term {}. From the kill to the next acknowledged write: {} ms. Nothing else was lost.",
        name(leader),
        name(new_leader),
        after.term,
        failover.as_millis()
    );
    Ok(())
}

fn form(nodes: &mut Nodes) -> Result<Duration, String> {
    let start = Instant::now();
    let mut wait = nodes.client(&nodes.living());
    let output = wait.args(["wait", "--healthy", "--timeout", "30s"]).output();
    nodes.check_alive()?;
    nodes::succeeded("waiting for the cluster", output)?;
    Ok(start.elapsed())
}

/// Waits until all living nodes name the same leader of the same term.
fn agreed_view(nodes: &mut Nodes) -> Result<View, String> {
    let limit = Instant::now() + Duration::from_secs(FAILOVER_LIMIT_S);
    loop {
        let views: Vec<Option<View>> = nodes.living().into_iter().map(|index| nodes.view(index)).collect();
        if let [Some(first), rest @ ..] = &views[..]
            && first.leader.is_some_and(|leader| nodes.living().contains(&leader))
            && rest.iter().all(|view| view.as_ref() == Some(first))
        {
            return Ok(first.clone());
        }
        nodes.check_alive()?;
        if Instant::now() > limit {
            return Err(format!("the nodes do not agree on a leader: {views:?}"));
        }
        thread::sleep(Duration::from_millis(POLL_MS));
    }
}

/// Shows what the survivors say until the write is acknowledged. Returns the time from the kill to the acknowledgement.
fn watch_election(nodes: &mut Nodes, before: &View, killed: Instant, mut write: Child) -> Result<Duration, String> {
    let acknowledged = thread::spawn(move || {
        let mut complaint = String::new();
        if let Some(mut stderr) = write.stderr.take() {
            let _ = std::io::Read::read_to_string(&mut stderr, &mut complaint);
        }
        (write.wait(), killed.elapsed(), complaint)
    });
    let mut shown: Vec<View> = vec![before.clone(); COUNT];
    while !acknowledged.is_finished() {
        for index in nodes.living() {
            if let Some(view) = nodes.view(index).filter(|view| *view != shown[index]) {
                let leader = view.leader.map_or("no leader".into(), name);
                println!("   {:>5} ms  {} sees {leader} in term {}", killed.elapsed().as_millis(), name(index), view.term);
                shown[index] = view;
            }
        }
        if std::io::stdout().is_terminal() {
            let _ = std::io::stdout().flush();
        }
    }
    nodes.check_alive()?;
    let (status, took, complaint) = acknowledged.join().expect("does not panic");
    match status {
        Ok(status) if status.success() => {
            println!("   {:>5} ms  a new write is acknowledged", took.as_millis());
            Ok(took)
        }
        other => Err(format!("no write was acknowledged: {other:?}; {}", complaint.trim())),
    }
}
