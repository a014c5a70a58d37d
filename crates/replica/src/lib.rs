//! One member of the cluster without sockets or threads
