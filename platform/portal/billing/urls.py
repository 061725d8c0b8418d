"""Credits: what is left, what they are bought with, and every receipt."""

from django.urls import path

from portal.billing import auto_views, card_views, order_views, plan_views, referral, views

urlpatterns = [
    path("billing", views.billing, name="billing"),
    path("billing/top-up", views.top_up, name="top_up"),
    path("billing/orders", order_views.orders, name="orders"),
    path("billing/orders/<uuid:order_id>", order_views.order, name="order"),
    path("billing/orders/<uuid:order_id>/state", order_views.order_state, name="order_state"),
    path("billing/orders/<uuid:order_id>/pay", order_views.pay_order, name="pay_order"),
    path("billing/orders/<uuid:order_id>/left", order_views.left_order, name="left_order"),
    path("billing/orders/<uuid:order_id>/receipt", order_views.receipt, name="receipt"),
    path("billing/orders/<uuid:order_id>/invoice", order_views.invoice, name="invoice"),
    path("billing/invoices/<slug:invoice_id>", order_views.plan_invoice, name="plan_invoice"),
    path("billing/card", card_views.card, name="card"),
    path("billing/card/add", card_views.add_card, name="add_card"),
    path("billing/portal", card_views.portal, name="billing_portal"),
    path("billing/plan/begun", plan_views.plan_begun, name="plan_begun"),
    path("billing/plan/cancel", plan_views.cancel_plan, name="cancel_plan"),
    path("billing/plan/keep", plan_views.keep_plan, name="keep_plan"),
    path("billing/plan/to/<slug:name>", plan_views.change_plan, name="change_plan"),
    path("billing/auto-top-up", auto_views.save_auto_top_up, name="save_auto_top_up"),
    path("billing/code", auto_views.redeem_code, name="redeem_code"),
    path("r/<slug:code>", referral.referral, name="referral"),
]
