//! What looks after a running node: room on the disk, stores that failed in the background, roles, remembered addresses.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use raft::RoleName;
use storage::{LogStore, Reserve, Room, RoomState};
use tokio::task::spawn_blocking;

use crate::{fatal::Fatal, membership::room_of, node::Node, peers::Memory};

const ROOM_PERIOD_MS: u64 = 1_000;
/// Changes come in bursts: all members are found within moments.
const MEMORY_PAUSE_MS: u64 = 300;

/// Reads the free space each second, and asks both stores whether they still work.
pub async fn watch_disk(node: Arc<Node>, room: Room, reserve: Reserve, log: Arc<dyn LogStore>, fatal: Fatal) {
    let shared = Arc::new((room, reserve, log));
    let mut before = None;
    loop {
        let (disk, state) = (shared.clone(), node.state.get());
        let looked = spawn_blocking(move || {
            disk.2.check()?;
            state.check()?;
            let report = disk.0.read()?;
            keep_reserve(&disk.1, report.state);
            Ok::<_, storage::Error>(report)
        });
        match looked.await {
            Ok(Ok(report)) => {
                node.room.send_replace(report);
                if before != Some(report.state) {
                    match report.state {
                        RoomState::Enough if before.is_none() => {}
                        RoomState::Enough => log::info!(free_bytes = report.free_bytes; "the disk has room again"),
                        _ => {
                            log::warn!(free_bytes = report.free_bytes, low_mark_bytes = report.low_mark_bytes; "the disk is short of room; new data is refused")
                        }
                    }
                    before = Some(report.state);
                }
                if let Some(member) = node.member() {
                    member.engine.set_room(room_of(report.state));
                }
            }
            Ok(Err(error)) => return fatal.report("the disk", &error),
            Err(_) => return,
        }
        tokio::time::sleep(Duration::from_millis(ROOM_PERIOD_MS)).await;
    }
}

/// Logs each change of role or leader, once.
pub async fn watch_role(node: Arc<Node>) {
    let Some(member) = node.member() else { return };
    let mut statuses = member.engine.watch();
    let mut told = None;
    let mut led_by = None;
    loop {
        let status = statuses.borrow_and_update().clone();
        let now = (status.role == RoleName::Leader, status.leader, status.term);
        if told != Some(now) && (status.leader.is_some() || told.is_some_and(|(_, leader, _)| leader.is_some())) {
            match status.leader {
                Some(leader) if leader == node.id => log::info!(term = status.term.0; "this node leads"),
                Some(leader) => log::info!(term = status.term.0, leader:% = leader; "follows a leader"),
                None => log::info!(term = status.term.0; "no leader is known"),
            }
            told = Some(now);
        }
        if status.leader.is_some() && status.leader != led_by {
            if led_by.is_some() {
                node.leader_changes.fetch_add(1, Ordering::Relaxed);
            }
            led_by = status.leader;
        }
        if statuses.changed().await.is_err() {
            return;
        }
    }
}

/// Writes down where the members were found, when that changed.
pub async fn remember_addresses(node: Arc<Node>, mut memory: Memory) {
    let mut changes = node.book.changes();
    let mut formed = node.formed();
    loop {
        tokio::time::sleep(Duration::from_millis(MEMORY_PAUSE_MS)).await;
        if let Some(member) = node.member() {
            let members = member.engine.status().membership.clone();
            let book = node.book.clone();
            let me = node.id;
            let kept = spawn_blocking(move || {
                memory.keep(&book, members.members().filter(|id| *id != me));
                memory
            });
            match kept.await {
                Ok(kept) => memory = kept,
                Err(_) => return,
            }
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = formed.changed() => {}
        }
    }
}

/// Below the floor the reserve is given back to the disk; it is set aside again once there is room.
fn keep_reserve(reserve: &Reserve, state: RoomState) {
    let done = match state {
        RoomState::Enough => reserve.restore(),
        RoomState::Low => Ok(()),
        RoomState::Floor => reserve.release(),
    };
    if let Err(error) = done {
        log::warn!(error:%; "the disk reserve could not be changed");
    }
}
