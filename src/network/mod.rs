//! Bridges, veth pairs, addresses, firewall, published ports and names. Has never heard of Compose.

pub mod spec;
