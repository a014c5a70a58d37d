//! Client histories and the linearizability checker
