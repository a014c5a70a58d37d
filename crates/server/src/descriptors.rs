//! Files and sockets that may be open at a time.
//!
//! A shell gives a process 1,024, which is as many as clients may have connections: a crowd of them would leave none for nodes and files. So the
//! node takes what the system lets it take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than ever are of use; some systems set no limit at all.
const DESCRIPTORS_MAX: u64 = 65_536;
/// For nodes, files of the database, blobs.
const SPARE_DESCRIPTORS: u64 = 512;

/// Raises the bound as far as the system allows. Returns it if that is too little for so many connections.
pub fn raise(connections: usize) -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(DESCRIPTORS_MAX).min(DESCRIPTORS_MAX);
    let current = now.current.unwrap_or(DESCRIPTORS_MAX);
    let raised = current < most && setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: now.maximum }).is_ok();
    let current = if raised { most } else { current };
    (current < SPARE_DESCRIPTORS + connections as u64).then_some(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_as_high_as_the_system_allows() {
        raise(0);
        let now = getrlimit(Resource::Nofile);
        let most = now.maximum.unwrap_or(DESCRIPTORS_MAX).min(DESCRIPTORS_MAX);
        assert!(now.current.is_none_or(|current| current >= most), "{now:?}");
        assert_eq!(raise(usize::MAX >> 1), now.current.or(Some(DESCRIPTORS_MAX)), "so many connections are too many for any system");
    }
}
