//! A cluster that nobody asks anything.

use std::{fs, path::Path, time::Duration};

use super::{Usage, rss_bytes, written_bytes_at_rest};
use crate::Cluster;

/// Written before, so that there is something to be idle with.
const WRITES: u32 = 1_000;

/// Prints what each node wrote, logged and took in `seconds` without a request.
pub async fn idle(seconds: u64) {
    let cluster = Cluster::of_three("bench-idle").await;
    let client = cluster.client(Duration::from_secs(20)).await;
    for number in 0..WRITES {
        client.set(format!("key/{number}").as_bytes(), vec![7; 1_024], None).await.expect("the cluster serves");
    }
    drop(client);
    let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid()).collect();
    let written: Vec<u64> = {
        let mut counts = Vec::new();
        for pid in &pids {
            counts.push(written_bytes_at_rest(&[*pid]).await);
        }
        counts
    };
    let files: Vec<Files> = cluster.nodes.iter().map(|node| Files::below(node.data_dir())).collect();
    let lines: Vec<usize> = cluster.nodes.iter().map(|node| node.log_text().lines().count()).collect();
    let usage: Vec<Usage> = pids.iter().map(|pid| Usage::now(&[*pid])).collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    println!("idle for {seconds} s after {WRITES} writes; timing profile: heartbeat 50 ms, election 150-300 ms");
    for (index, node) in cluster.nodes.iter().enumerate() {
        let pid = pids[index];
        let bytes = super::written_bytes(&[pid]) - written[index];
        let now = Files::below(node.data_dir());
        let logged = node.log_text().lines().count() - lines[index];
        let cpu = Usage::now(&[pid]).since(usage[index]).servers.as_secs_f64() / seconds as f64 * 100.0;
        println!(
            "{}: {bytes} bytes written; {}; {logged} log lines; {cpu:.2} % of a core; {:.1} MB RSS",
            node.name,
            now.against(&files[index]),
            rss_bytes(pid) as f64 / 1e6,
        );
    }
}

/// What `du` and `ls` tell of a directory.
#[derive(PartialEq)]
struct Files {
    count: u64,
    bytes: u64,
    changed: std::time::SystemTime,
}

impl Files {
    fn below(dir: &Path) -> Files {
        let mut files = Files { count: 0, bytes: 0, changed: std::time::SystemTime::UNIX_EPOCH };
        let mut dirs = vec![dir.to_path_buf()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    dirs.push(entry.path());
                } else {
                    files.count += 1;
                    files.bytes += meta.len();
                }
                files.changed = files.changed.max(meta.modified().unwrap_or(files.changed));
            }
        }
        files
    }

    fn against(&self, before: &Files) -> String {
        match self == before {
            true => format!("{} files of {:.1} MB untouched", self.count, self.bytes as f64 / 1e6),
            false => {
                format!("files were written ({} of {} bytes, before {} of {} bytes)", self.count, self.bytes, before.count, before.bytes)
            }
        }
    }
}
