//! Real processes: cluster harness, power cuts, network namespaces
