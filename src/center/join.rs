//! Joining: a token turns into a member of the fleet. The row and the end of the token are one transaction;
//! the certificate is signed only once it is durable.

use std::collections::BTreeSet;

use super::core::Core;
use super::event::{Effect, Issue, LogLevel, Now, SessionId};
use super::failing::Health;
use crate::model::{AgentId, AgentName, GroupName, HostPort, Incarnation, PeerRole, Token};
use crate::proto::hello::{ErrorFrame, LinkError};
use crate::proto::join::Join;
use crate::store::{AgentRow, AuditRow, TokenFor, TokenRow, Write};

impl Core {
    /// Somebody without a certificate shows a token.
    pub(super) fn join(&mut self, now: Now, session: SessionId, join: &Join, address: &str) {
        let joined = self
            .check_token(now, join)
            .and_then(|(hash, row)| self.admit_joiner(now, join, &hash, &row, address));
        match joined {
            Ok(issue) => {
                let what = format!("{} {} joined from {address}", issue.role, issue.name);
                self.log(LogLevel::Info, what);
                self.later(Effect::Issue(session, issue));
            }
            Err(error) => {
                self.log(
                    LogLevel::Warn,
                    format!("a join from {address} was refused: {}", error.message),
                );
                self.now(Effect::Close(session, error));
            }
        }
    }

    pub(super) fn check_token(
        &self,
        now: Now,
        join: &Join,
    ) -> Result<(String, TokenRow), ErrorFrame> {
        if let Health::Reloading { trouble } = &self.health {
            let message = format!("{trouble}; try again later");
            return Err(ErrorFrame {
                code: LinkError::Internal,
                message,
            });
        }
        let bad = |message: &str| ErrorFrame {
            code: LinkError::Token,
            message: message.to_owned(),
        };
        let token = Token::parse(&join.token).map_err(|fault| bad(&fault.to_string()))?;
        let hash = token.hash();
        let row = self.fleet.tokens.get(&hash).ok_or_else(|| {
            bad("this token is unknown, or was used; make a new one with `ucron token`")
        })?;
        if row.expires_at <= now.at {
            return Err(bad(
                "this token has expired; make a new one with `ucron token`",
            ));
        }
        if token.role() != join.role {
            return Err(bad(
                "this token is for another role; agents join with `ucron token agent`",
            ));
        }
        Ok((hash, row.clone()))
    }

    fn admit_joiner(
        &mut self,
        now: Now,
        join: &Join,
        hash: &str,
        token: &TokenRow,
        address: &str,
    ) -> Result<Issue, ErrorFrame> {
        let issue = match &token.purpose {
            TokenFor::Center => {
                let id = self.entropy.id(now.at).to_string().to_lowercase();
                Issue {
                    role: PeerRole::Center,
                    name: id.clone(),
                    id,
                    request: join.request.clone(),
                }
            }
            TokenFor::Agent(groups) => {
                let name = self.free_agent_name(join.name.as_ref())?;
                let row = self.new_agent(now, name, groups, None);
                Issue {
                    role: PeerRole::Agent,
                    id: row.id.to_string(),
                    name: row.name.to_string(),
                    request: join.request.clone(),
                }
            }
            TokenFor::Operator(id) => {
                let gone = || ErrorFrame {
                    code: LinkError::Token,
                    message: "this token's operator was removed".to_owned(),
                };
                let row = self.fleet.operators.get_mut(id).ok_or_else(gone)?;
                row.logged_in = true;
                let row = row.clone();
                self.write(Write::PutOperator(Box::new(row.clone())));
                Issue {
                    role: PeerRole::Operator,
                    id: row.id.to_string(),
                    name: row.name.to_string(),
                    request: join.request.clone(),
                }
            }
        };
        self.use_token(hash);
        self.audit_join(now, &issue, address);
        Ok(issue)
    }

    /// A new member, with the groups of its token that are still there.
    pub(super) fn new_agent(
        &mut self,
        now: Now,
        name: AgentName,
        groups: &BTreeSet<GroupName>,
        dial_address: Option<HostPort>,
    ) -> AgentRow {
        let groups = groups.iter();
        let row = AgentRow {
            id: AgentId::from(self.entropy.id(now.at)),
            name,
            groups: groups
                .filter(|group| self.fleet.groups.contains_key(*group))
                .cloned()
                .collect(),
            dial_address,
            draining: false,
            drain_daemons: false,
            boot_id: None,
            boot_seen_at: None,
            incarnation: Incarnation(0),
            version: None,
            last_seen_at: None,
            created_at: now.at,
        };
        self.write(Write::PutAgent(Box::new(row.clone())));
        self.touch(&super::watch::Touched::Agent(row.id.clone()));
        self.fleet.agents.insert(row.id.clone(), row.clone());
        row
    }

    /// A token is good once.
    pub(super) fn use_token(&mut self, hash: &str) {
        self.fleet.tokens.remove(hash);
        self.write(Write::RemoveToken {
            hash: hash.to_owned(),
        });
    }

    pub(super) fn free_agent_name(
        &self,
        wished: Option<&AgentName>,
    ) -> Result<AgentName, ErrorFrame> {
        let refuse = |message: String| ErrorFrame {
            code: LinkError::Unexpected,
            message,
        };
        let name = wished.ok_or_else(|| refuse("an agent that joins gives a name".to_owned()))?;
        if self.fleet.agent_named(name).is_some() {
            return Err(refuse(format!(
                "an agent named {name} is there already; join with `--name` and another name, or remove the old one with `ucron agent rm {name}`"
            )));
        }
        Ok(name.clone())
    }

    fn audit_join(&mut self, now: Now, issue: &Issue, address: &str) {
        let operator = crate::model::OperatorName::parse("token").expect("a plain word is a name");
        self.write(Write::Audit(Box::new(AuditRow {
            at: now.at,
            operator,
            address: address.to_owned(),
            deed: "join".to_owned(),
            subject: format!("{} {}", issue.role, issue.name),
            group: None,
            before: None,
            after: None,
        })));
    }
}
