package main

import (
	"backbone/connectors"
	"backbone/connectors/msmail"
	sitelink "backbone/connectors/site"
	"backbone/connectors/smtp"
	"backbone/connectors/x400"
)

// kinds is every kind of connector there is. A new one adds its line here.
var kinds = []connectors.Kind{
	msmail.Kind,
	sitelink.Kind,
	smtp.Kind,
	x400.Kind,
}
