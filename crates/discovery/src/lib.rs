//! Who is where: mDNS announce and browse, fixed lists
