//! Certificates for who joins: signs what the core has decided, and says what the joiner needs to find the centers.
//! Decides nothing.

use super::event::Issue;
use super::shell::Parts;
use crate::clock;
use crate::model::{PeerRole, PeerUri};
use crate::proto::hello::{ErrorFrame, LinkError};
use crate::proto::join::{AuthorityPem, Joined, ToJoiner};

/// The answer to a joiner, who is to dial these centers.
pub(super) fn issued(parts: &Parts, issue: &Issue, centers: Vec<String>) -> ToJoiner {
    let fleet = parts.settings.fleet.clone();
    let uri = PeerUri {
        fleet: fleet.clone(),
        role: issue.role,
        id: issue.id.clone(),
    };
    match parts.authority.issue(&issue.request, &uri, clock::now()) {
        Ok(issued) => ToJoiner::Joined(Joined {
            fleet: fleet.to_string(),
            name: issue.name.clone(),
            certificate: issued.certificate,
            centers,
            authority: (issue.role == PeerRole::Center)
                .then(|| AuthorityPem(parts.authority.secret())),
        }),
        Err(fault) => ToJoiner::Error(ErrorFrame {
            code: LinkError::UnknownMessage,
            message: fault.to_string(),
        }),
    }
}
