"""Credits: balance, payment methods, orders and receipts."""

from django.urls import path

from portal.billing.views import orders, page, plans, settings

urlpatterns = [
    path("billing", page.billing, name="billing"),
    path("billing/top-up", page.top_up, name="top_up"),
    path("billing/orders", orders.orders, name="orders"),
    path("billing/orders/<uuid:order_id>", orders.order, name="order"),
    path("billing/orders/<uuid:order_id>/state", orders.order_state, name="order_state"),
    path("billing/orders/<uuid:order_id>/pay", orders.pay_order, name="pay_order"),
    path("billing/orders/<uuid:order_id>/left", orders.left_order, name="left_order"),
    path("billing/orders/<uuid:order_id>/receipt", orders.receipt, name="receipt"),
    path("billing/orders/<uuid:order_id>/invoice", orders.invoice, name="invoice"),
    path("billing/invoices/<slug:invoice_id>", orders.plan_invoice, name="plan_invoice"),
    path("billing/card", settings.card, name="card"),
    path("billing/card/add", settings.add_card, name="add_card"),
    path("billing/portal", settings.portal, name="billing_portal"),
    path("billing/plan/begun", plans.plan_begun, name="plan_begun"),
    path("billing/plan/cancel", plans.cancel_plan, name="cancel_plan"),
    path("billing/plan/keep", plans.keep_plan, name="keep_plan"),
    path("billing/plan/to/<slug:name>", plans.change_plan, name="change_plan"),
    path("billing/auto-top-up", settings.save_auto_top_up, name="save_auto_top_up"),
    path("billing/code", settings.redeem_code, name="redeem_code"),
]
