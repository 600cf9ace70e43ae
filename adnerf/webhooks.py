"""`adnerf webhooks`: the commands for webhooks, addresses that receive events."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from adnerf.common import Id, Limit, Service, command_group, service_command

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

app = command_group("Manage webhooks, addresses that receive events.")


@service_command(app, "create")
def create(
    service: Service,
    address: Annotated[str, Argument(metavar="URL", help="https, on the public internet.", show_default=False)],
    event: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Event to send, such as video.ready; may be repeated. [default: all]"),
    ] = None,
    description: str = "",
) -> None:
    """Create a webhook; prints its secret, which is not shown again."""
    service.output.show(service.client.webhooks.create(address, events=event or None, description=description))


@service_command(app, "list")
def list_webhooks(service: Service, limit: Limit = 50) -> None:
    """List webhooks, newest first."""
    service.output.show_list(service.client.webhooks.list(limit=limit), COLUMNS)


@service_command(app, "show")
def show(service: Service, webhook: Id) -> None:
    """Show a webhook."""
    service.output.show(service.client.webhooks.get(webhook))


@service_command(app, "enable")
def enable(service: Service, webhook: Id) -> None:
    """Enable a webhook again."""
    service.output.show(service.client.webhooks.change(webhook, enabled=True))


@service_command(app, "disable")
def disable(service: Service, webhook: Id) -> None:
    """Disable a webhook."""
    service.output.show(service.client.webhooks.change(webhook, enabled=False))


@service_command(app, "rotate")
def rotate(service: Service, webhook: Id) -> None:
    """Replace the secret of a webhook; prints the new one, which is not shown again."""
    service.output.show(service.client.webhooks.rotate(webhook))


@service_command(app, "test")
def send_test_event(service: Service, webhook: Id) -> None:
    """Send a test event."""
    service.output.show(service.client.webhooks.test(webhook))


@service_command(app, "delete")
def delete(service: Service, webhook: Id) -> None:
    """Delete a webhook and the log of its deliveries."""
    service.client.webhooks.delete(webhook)
    service.output.done(f"Deleted: {webhook}", deleted=[webhook])


@service_command(app, "deliveries")
def list_deliveries(
    service: Service,
    webhook: Id,
    state: Annotated[str | None, Option(help="Only deliveries in this state: pending, delivered or failed.")] = None,
    limit: Limit = 50,
) -> None:
    """List the deliveries of a webhook, newest first."""
    deliveries = service.client.webhooks.deliveries(webhook, state=state, limit=limit)
    service.output.show_list(deliveries, DELIVERY_COLUMNS)
