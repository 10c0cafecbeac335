//! `ucron token agent|operator|center`: an admin on all groups. The token's text is in the answer alone.

use std::time::Duration;

use super::{Audited, Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::select::refusal;
use crate::model::{OperatorId, PeerRole, Token};
use crate::proto::request::{
    Answer, Refusal, RefusalCode, TokenAgent, TokenCenter, TokenMade, TokenOperator,
};
use crate::store::{OperatorRow, TokenFor, TokenRow, Write};

/// A token is for now, not for a drawer.
const LONGEST: Duration = Duration::from_hours(30 * 24);

pub(super) fn for_agent(core: &mut Core, now: Now, asker: &Asker, ask: TokenAgent) -> Replied {
    asker.may_change_fleet()?;
    check_ttl(ask.ttl)?;
    for group in &ask.groups {
        core.find_group(asker, group)?;
    }
    let subject = ask
        .groups
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let purpose = TokenFor::Agent(ask.groups.into_iter().collect());
    core.audit(now, asker, Audited::new("token agent", &subject, None));
    reply(make(core, now, PeerRole::Agent, purpose, ask.ttl))
}

pub(super) fn for_operator(
    core: &mut Core,
    now: Now,
    asker: &Asker,
    ask: &TokenOperator,
) -> Replied {
    asker.may_change_fleet()?;
    check_ttl(ask.ttl)?;
    let id = core
        .fleet
        .operator_named(&ask.operator)
        .map(|row| row.id.clone());
    let id = id.unwrap_or_else(|| {
        let row = OperatorRow {
            id: OperatorId::from(core.entropy.id(now.at)),
            name: ask.operator.clone(),
            role: None,
            roles: std::collections::BTreeMap::new(),
            logged_in: false,
            created_at: now.at,
        };
        core.write(Write::PutOperator(Box::new(row.clone())));
        core.fleet.operators.insert(row.id.clone(), row.clone());
        row.id
    });
    core.audit(
        now,
        asker,
        Audited::new("token operator", &ask.operator, None),
    );
    reply(make(
        core,
        now,
        PeerRole::Operator,
        TokenFor::Operator(id),
        ask.ttl,
    ))
}

pub(super) fn for_center(core: &mut Core, now: Now, asker: &Asker, ask: &TokenCenter) -> Replied {
    asker.may_change_fleet()?;
    check_ttl(ask.ttl)?;
    core.audit(now, asker, Audited::new("token center", &"", None));
    reply(make(core, now, PeerRole::Center, TokenFor::Center, ask.ttl))
}

fn check_ttl(ttl: Duration) -> Result<(), Refusal> {
    if ttl.is_zero() || ttl > LONGEST {
        let message = "a token's `--ttl` is between 1ms and 30d".to_owned();
        return Err(refusal(
            RefusalCode::Usage,
            message,
            Some("for example `--ttl 1h`"),
        ));
    }
    Ok(())
}

fn make(core: &mut Core, now: Now, role: PeerRole, purpose: TokenFor, ttl: Duration) -> Answer {
    let token = Token::new(role, &core.entropy.bytes(), core.settings.pin);
    let row = TokenRow {
        hash: token.hash(),
        purpose,
        expires_at: now.at.plus(ttl),
    };
    core.write(Write::PutToken(row.clone()));
    core.fleet.tokens.insert(row.hash.clone(), row);
    Answer::Token(TokenMade {
        token: token.text(),
    })
}
