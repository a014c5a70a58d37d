//! Deterministic simulator and safety properties
