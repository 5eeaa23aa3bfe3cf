"""The part of *Advanced* that chooses an engine on another machine."""

from __future__ import annotations

import slicer

from surgsam2.errors import InputError
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.install.chosen_python import make_client, startup_environment
from SurgSAM2Lib.install.remote_engine import RemoteEngine, check_connection, saved_remote_engine
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.section import Section, enable


class RemoteSection(Section):
    """Tests the connection to an engine on another machine, and uses that engine.

    Args:
        context: what all sections share.
    """

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        saved = saved_remote_engine() or RemoteEngine("")
        self.ui.engineAddressLineEdit.text = saved.address
        self.ui.tokenPathLineEdit.currentPath = saved.token_file
        self.ui.authoritiesPathLineEdit.currentPath = saved.authorities
        self.on_click(self.ui.testEngineButton, self.test)
        self.on_click(self.ui.useEngineButton, self.use)
        self._show_place()

    @property
    def chosen(self) -> RemoteEngine:
        """The engine that the fields name."""
        return RemoteEngine(
            self.ui.engineAddressLineEdit.text.strip(),
            self.ui.tokenPathLineEdit.currentPath.strip(),
            self.ui.authoritiesPathLineEdit.currentPath.strip(),
        )

    def test(self) -> None:
        """Connect to the engine once, and show its version, its device and the time of an answer.

        Raises:
            InputError: the address is none, or the token cannot be read.
            NoConnectionError: there is no engine, or it cannot be used.
        """
        if not self.chosen.address:
            raise InputError(_("there is no address; write ssh://user@host or surgsam2://host"))
        self.ui.remoteLabel.text = _("Connecting...")
        try:
            self.ui.remoteLabel.text = check_connection(
                self.chosen.client(startup_environment()), slicer.app.processEvents
            )
        except Exception:
            self._show_place()
            raise

    def use(self) -> None:
        """Run the engine there from now on, after asking once; without an address, here."""
        chosen = self.chosen
        if chosen.address:
            # It refuses an address or a token that cannot be used.
            chosen.client(startup_environment())
            if chosen.needs_consent and not self._consents(chosen):
                return
        chosen.save()
        self.logic.engine.use_client(make_client)
        self._show_place()

    def _consents(self, chosen: RemoteEngine) -> bool:
        text = _(
            "The video leaves this computer: it is sent to {address}, with the prompts and the "
            "names that you gave to objects. Do you want that?"
        ).format(address=chosen.address)
        agreed = bool(slicer.util.confirmOkCancelDisplay(text, _("SurgSAM2")))
        if agreed:
            chosen.remember_consent()
        return agreed

    def _show_place(self) -> None:
        saved = saved_remote_engine()
        self.ui.remoteLabel.text = (
            _("The engine runs on this computer.")
            if saved is None
            else _("The engine runs at {address}.").format(address=saved.address)
        )

    def refresh(self) -> None:
        """Enable the buttons that can be used now."""
        problem = _("Tracking is in progress") if self.logic.engine.tracking is not None else ""
        for button in (self.ui.testEngineButton, self.ui.useEngineButton):
            enable(button, problem)
