//! What a member answers to a board that asked to be let in, as papers.
//!
//! Whoever answers has proven to be a node of the token's cluster. A certificate for another node, or one under another authority, is none for this
//! board all the same: it would be refused by everybody later, and the token would be spent.

use proto::v1 as wire;
use raft::NodeId;
use trust::{Credentials, KeyPair, Subject, Who};

use super::Papers;
use crate::convert::{self, Malformed};

/// An answer that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Trust(#[from] trust::Error),
    #[error("it gave this node a certificate for somebody else")]
    SomebodyElse,
}

/// What makes `me` a member of the cluster whose authority has the hash, and where its members listen.
pub fn admitted(answer: wire::AdmitResponse, me: NodeId, ca_hash: [u8; 32], key: &KeyPair) -> Result<(Papers, Vec<String>), AnswerError> {
    let formed_id = convert::cluster_id(&answer.formed_id)?;
    let papers = papers(answer.certificate.unwrap_or_default(), key, formed_id)?;
    let meant = Subject { cluster_id: convert::cluster_id(&answer.cluster_id)?, who: Who::Node(me.0) };
    let pinned = papers.credentials.authorities.iter().any(|authority| trust::hash_of(authority) == ca_hash);
    match papers.credentials.subject()? == meant && pinned {
        true => Ok((papers, answer.addresses)),
        false => Err(AnswerError::SomebodyElse),
    }
}

/// What a certificate from the wire makes of a key.
pub fn papers(certificate: wire::Certificate, key: &KeyPair, formed_id: [u8; 16]) -> Result<Papers, Malformed> {
    if certificate.leaf.is_empty() || certificate.authorities.is_empty() {
        return Err(Malformed("answer: it holds no certificate"));
    }
    Ok(Papers {
        credentials: Credentials {
            leaf: certificate.leaf.to_vec(),
            key: key.key_der().to_vec(),
            authorities: certificate.authorities.iter().map(|authority| authority.to_vec()).collect(),
        },
        formed_id,
        time_s: certificate.time_s,
        founding: None,
    })
}
