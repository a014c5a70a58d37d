//! `cargo xtask demo`: three nodes find each other, keep a photograph, lose their leader, and give the photograph back.
//!
//! Everything happens on loopback and in a temporary directory that is removed again, also after Ctrl+C. Fails if any step does not
//! do what the text says.

use std::fs;
use std::io::Read;
use std::process::{Child, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::nodes::{self, Nodes, name};
use crate::packages;
use crate::workspace;

const PHOTO: &str = "tests/photo/astronaut.png";
const KEY: &str = "photos/astronaut";
const POLL_MS: u64 = 20;
/// What to give a small board; a desktop needs a hundredth of it.
const FAILOVER_LIMIT_S: u64 = 30;
const LOG_TAIL_LINES: usize = 15;

pub fn run() -> ExitCode {
    let prepared = packages::install_missing(packages::BUILD).and_then(|()| workspace::build());
    match prepared.and_then(|()| tell()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("demo failed: {complaint}");
            ExitCode::FAILURE
        }
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
    let (leader, term) = settled(nodes)?;
    println!("   one cluster after {:.1} s; {} leads in term {term}", formation.as_secs_f64(), name(leader));

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
    let failover = watch_election(nodes, killed, write)?;
    let (new_leader, new_term) = settled(nodes)?;
    if new_leader == leader || new_term <= term {
        return Err(format!("nobody was elected: {} leads in term {new_term}", name(new_leader)));
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
        "\n{} was lost and {} took over in term {new_term}. From the kill to the next acknowledged write: {} ms. Nothing else was lost.",
        name(leader),
        name(new_leader),
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

/// Waits until all living nodes follow one of them.
fn settled(nodes: &mut Nodes) -> Result<(usize, u64), String> {
    let limit = Instant::now() + Duration::from_secs(FAILOVER_LIMIT_S);
    loop {
        let view = nodes.view();
        if let Some(settled) = view.as_ref().and_then(|view| view.settled(&nodes.living())) {
            return Ok(settled);
        }
        nodes.check_alive()?;
        if Instant::now() > limit {
            return Err(format!("the nodes do not agree on a leader: {view:?}"));
        }
        thread::sleep(Duration::from_millis(POLL_MS));
    }
}

/// Shows what the survivors say until the write is acknowledged. Returns the time from the kill to the acknowledgement.
fn watch_election(nodes: &mut Nodes, killed: Instant, mut write: Child) -> Result<Duration, String> {
    let acknowledged = thread::spawn(move || {
        let mut complaint = String::new();
        if let Some(mut stderr) = write.stderr.take() {
            let _ = stderr.read_to_string(&mut complaint);
        }
        (write.wait(), killed.elapsed(), complaint)
    });
    let mut shown = None;
    while !acknowledged.is_finished() {
        let view = nodes.view();
        if let Some(view) = view.as_ref().filter(|_| view != shown) {
            println!("   {:>5} ms  {view}", killed.elapsed().as_millis());
        }
        shown = view;
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
