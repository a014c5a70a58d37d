//! The login of a pool, exchanged for a new one in passing when a node tells that it is time.
//!
//! Invariants:
//! - one exchange at a time; whoever comes meanwhile goes on with the old one, which is good for as long again;
//! - a node that cannot exchange it costs a moment and nothing else: the next connection tries again.

use std::sync::Mutex;
use std::time::Duration;

use proto::v1::trust_client::TrustClient;
use proto::v1::{RenewRequest, StatusResponse};
use tokio::time::timeout;
use tonic::transport::Channel;
use trust::KeyPair;

use crate::login::Login;

const RENEWAL_TIMEOUT_MS: u64 = 1_000;

pub struct LoginInUse {
    login: Mutex<Login>,
    exchanging: tokio::sync::Mutex<()>,
}

impl LoginInUse {
    pub fn new(login: Login) -> LoginInUse {
        LoginInUse { login: Mutex::new(login), exchanging: tokio::sync::Mutex::default() }
    }

    pub fn current(&self) -> Login {
        self.login.lock().unwrap().clone()
    }

    /// Exchanges it at this node, if the node's state says that it should be.
    pub async fn keep_young(&self, channel: &Channel, status: &StatusResponse) {
        let Ok(_alone) = self.exchanging.try_lock() else { return };
        let old = self.current();
        if !old.is_to_be_renewed(status) {
            return;
        }
        let Ok(key) = KeyPair::make() else { return };
        let Ok(csr) = key.csr() else { return };
        let mut node = TrustClient::new(channel.clone());
        let answer = timeout(Duration::from_millis(RENEWAL_TIMEOUT_MS), node.renew(RenewRequest { csr: csr.into() })).await;
        if let Ok(Ok(answer)) = answer
            && let Ok(new) = old.renewed(answer.into_inner(), &key)
        {
            *self.login.lock().unwrap() = new;
        }
    }
}
