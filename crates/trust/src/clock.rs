//! The time that certificates are judged by. It is handed in, never read from a board: boards without a clock start in 1970, and others
//! jump by years.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// Seconds since 1970. In a cluster: the newest time that its log has seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnixSecs(pub u64);

/// Asked once for each handshake.
pub type Clock = Arc<dyn Fn() -> UnixSecs + Send + Sync>;

/// The beginning of every certificate's life.
pub(crate) const BEGINNING: UnixSecs = UnixSecs(0);
/// 9999-12-31 23:59:59, the last second that a certificate can name; by convention it means "no end".
pub(crate) const NO_END: UnixSecs = UnixSecs(253_402_300_799);

impl UnixSecs {
    pub(crate) fn for_tls(self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.0))
    }
}

/// Makes TLS ask the caller's clock in place of the board's.
pub(crate) struct GivenTime(pub Clock);

impl TimeProvider for GivenTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some((self.0)().for_tls())
    }
}

impl fmt::Debug for GivenTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenTime")
    }
}
