"""`adnerf webhooks`: addresses that are told of events."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from adnerf.common import add_action, add_group

if TYPE_CHECKING:
    from adnerf.output import Screen
    from adnerf_client import Client

COLUMNS = {
    "id": lambda webhook: webhook.id,
    "state": lambda webhook: "on" if webhook.enabled else f"off ({webhook.disabled_because})",
    "url": lambda webhook: webhook.url,
    "events": lambda webhook: ", ".join(webhook.events),
}
DELIVERY_COLUMNS = {
    "id": lambda delivery: delivery.id,
    "event": lambda delivery: delivery.event,
    "state": lambda delivery: delivery.state,
    "attempts": lambda delivery: delivery.attempts,
    "answer": lambda delivery: delivery.last_status or delivery.last_error or "",
    "made": lambda delivery: f"{delivery.created_at:%Y-%m-%d %H:%M}",
}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds `webhooks` and its actions."""
    actions = add_group(commands, "webhooks", "have addresses told of events")
    create = add_action(actions, "create", _create, "have an address told of events; prints the secret, once")
    create.add_argument("address", metavar="URL", help="https, on the public internet")
    create.add_argument(
        "--event", action="append", metavar="NAME", help="such as video.ready; may be repeated (default: all)"
    )
    create.add_argument("--description", default="")
    listing = add_action(actions, "list", _list, "list webhooks, newest first")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: %(default)s)")
    for name, action, about in (
        ("show", _show, "show a webhook"),
        ("enable", _enable, "switch a webhook on again"),
        ("disable", _disable, "switch a webhook off"),
        ("rotate", _rotate, "give a webhook another secret; prints it, once"),
        ("test", _test, "send a test event"),
        ("delete", _delete, "delete a webhook and the log of what it was told"),
    ):
        add_action(actions, name, action, about).add_argument("id")
    log = add_action(actions, "deliveries", _deliveries, "list what a webhook was told or is to be told")
    log.add_argument("id")
    log.add_argument("--state", help="only those of this state: pending, delivered or failed")
    log.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: %(default)s)")


def _create(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.webhooks.create(options.address, events=options.event, description=options.description))


def _list(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show_list(client.webhooks.list(limit=options.limit), COLUMNS)


def _show(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.webhooks.get(options.id))


def _enable(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.webhooks.change(options.id, enabled=True))


def _disable(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.webhooks.change(options.id, enabled=False))


def _rotate(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.webhooks.rotate(options.id))


def _test(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show(client.webhooks.test(options.id))


def _delete(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    client.webhooks.delete(options.id)
    screen.done(f"Deleted: {options.id}", deleted=[options.id])


def _deliveries(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    screen.show_list(client.webhooks.deliveries(options.id, state=options.state, limit=options.limit), DELIVERY_COLUMNS)
