//! A disk that forgot a part of what others count on is found out at its start, and an honest one never accused.

use raft::NodeId;

use super::{Property, Verdict};

/// Whose disk forgot does not speak any more.
pub fn speaks(id: NodeId, forgot: bool) -> Verdict {
    Property::HonestDisks.holds(!forgot, || format!("{id:?} speaks on although its disk has forgotten a part of the log"))
}

pub fn suspected(id: NodeId, suspect: Option<&str>, forgot: bool) -> Verdict {
    Property::HonestDisks.holds(suspect.is_some() == forgot, || match suspect {
        Some(why) => format!("{id:?} is suspect although its disk is honest: {why}"),
        None => format!("{id:?} starts although its disk has forgotten a part of the log"),
    })
}
