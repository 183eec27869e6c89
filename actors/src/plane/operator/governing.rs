//! What an operator lets run: pauses, caps and shares.

use super::Operator;
use crate::error::Error;
use crate::fleet::input;
use crate::fleet::policy::{Change, Policy};
use crate::fleet::registry::Message;
use crate::system::org::Role;

impl Operator {
    /// What the organisation lets run now.
    ///
    /// # Errors
    /// When its cell does not run.
    pub async fn policy(&self) -> Result<Policy, Error> {
        self.ask_registry(0, |reply| Message::Policy { reply }).await
    }

    /// The canonical name of a model in this organisation.
    ///
    /// # Errors
    /// When it is no name, or the organisation's cell does not run.
    pub async fn canonical_model(&self, name: &str) -> Result<String, Error> {
        input::name("model", name)?;
        Ok(self.cell().await?.models.canonical(name))
    }

    /// Changes what the organisation lets run. Once this returns, the change is durable; what runs already runs on.
    ///
    /// # Errors
    /// When it makes no sense.
    pub async fn govern(&self, change: Change) -> Result<Policy, Error> {
        match &change {
            Change::Set(policy) => {
                self.may(Role::Admin)?;
                input::policy(policy)?;
            }
            Change::PausePool(pool, _) => {
                self.may(Role::Operator)?;
                input::name("pool", pool)?;
            }
            Change::Pause(_) => self.may(Role::Operator)?,
            Change::LegacyHeaders(_) => self.may(Role::Admin)?,
            Change::Retain(retention) => {
                self.may(Role::Admin)?;
                input::retention(retention)?;
            }
        }
        let by = self.by().clone();
        self.ask_registry(0, |reply| Message::Govern { change, by, reply }).await
    }
}
