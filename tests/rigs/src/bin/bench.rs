//! `cargo xtask bench`: measures a cluster of this machine's making. Usage: bench [--seconds N] [--beside-etcd PROGRAM] [--failovers N]

use std::{path::PathBuf, process::ExitCode};

use rigs::{
    Cluster, Memory,
    bench::{Etcd, Figures, PAYLOAD_BYTES, Store, closed_loop, failovers, ratio, row, rusty_kv, written_bytes},
};

const CLIENTS: [u64; 3] = [1, 64, 500];
const CONNECTIONS: u64 = 8;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (mut seconds, mut etcd, mut kills) = (10, None, 0);
    while let Some(arg) = args.next() {
        let value = args.next().unwrap_or_default();
        match (arg.as_str(), value.parse::<u64>()) {
            ("--seconds", Ok(number)) => seconds = number,
            ("--failovers", Ok(number)) => kills = number,
            ("--beside-etcd", _) => etcd = Some(PathBuf::from(value)),
            _ => {
                eprintln!("bench: {arg} {value}? usage: bench [--seconds N] [--beside-etcd PROGRAM] [--failovers N]");
                return ExitCode::from(2);
            }
        }
    }
    println!("timing profile: heartbeat 50 ms, election 150-300 ms; clients share {CONNECTIONS} connections; 256 B keys, 1 KiB values");
    let theirs = match etcd {
        None => None,
        Some(program) => match Etcd::start(&program).await {
            Ok(etcd) => Some(measure(&etcd, seconds).await),
            Err(reason) => {
                eprintln!("bench: etcd did not start: {reason}");
                return ExitCode::FAILURE;
            }
        },
    };
    let mut cluster = Cluster::of_three("bench").await;
    let ours = measure(&rusty_kv(&cluster).await, seconds).await;
    for ((what, clients, our), (.., their)) in ours.iter().zip(theirs.iter().flatten()) {
        ratio(what, *clients, our, their);
    }
    if kills > 0 {
        let gaps = failovers(&mut cluster, kills).await;
        println!("failover   {kills} kills: median {} ms, worst {} ms", gaps[gaps.len() / 2].as_millis(), gaps[gaps.len() - 1].as_millis());
    }
    ExitCode::SUCCESS
}

async fn measure(store: &impl Store, seconds: u64) -> Vec<(&'static str, u64, Figures)> {
    let mut all = Vec::new();
    for (what, writes) in [("writes", true), ("reads", false)] {
        for clients in CLIENTS {
            let before = written_bytes(&store.pids());
            let figures = closed_loop(store, clients, CONNECTIONS, seconds, writes).await;
            row(store.name(), what, clients, &figures);
            if writes {
                let bytes = written_bytes(&store.pids()) - before;
                let per_payload = bytes as f64 / 3.0 / (figures.done.max(1) * PAYLOAD_BYTES) as f64;
                println!("{:<10}         {per_payload:>17.2} bytes written per payload byte and node", store.name());
            }
            all.push((what, clients, figures));
        }
    }
    let peak = store.pids().iter().map(|pid| Memory::of(*pid).peak).max().unwrap_or(0);
    println!("{:<10} peak RSS of a node {} MB", store.name(), peak / 1_000_000);
    all
}
