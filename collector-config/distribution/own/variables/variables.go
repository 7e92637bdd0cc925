// Package variables refuses, at start and by its name, a variable that would not mean what it was set for.
//
// The collector takes a variable that is set, but empty, as an empty value instead of its default: an address without a
// host is every interface, and a share without a number is none.
package variables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.opentelemetry.io/collector/confmap"
)

const slow = "OTEL_PYTHON_SCHEMA_SLOW_MS"

// replaced is what the collector makes something else of, also where it comes out of a variable: one $, or a variable's value.
var replaced = regexp.MustCompile(`\$[${]`)

// milliseconds are the spellings that the app takes: its setting has the same expression.
var milliseconds = regexp.MustCompile(`^ *\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})? *$`)

// NewFactory returns the factory of a converter that changes nothing.
func NewFactory() confmap.ConverterFactory {
	return confmap.NewConverterFactory(func(confmap.ConverterSettings) confmap.Converter { return converter{} })
}

type converter struct{}

// Convert names every variable that is refused.
func (converter) Convert(context.Context, *confmap.Conf) error {
	var refused []error
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case name != slow && !strings.HasPrefix(name, "OTELCOL_"):
		case strings.TrimSpace(value) == "":
			refused = append(refused, fmt.Errorf("%s is set, but empty: give it a value, or unset it for its default", name))
		case replaced.MatchString(value):
			refused = append(refused, fmt.Errorf("%s holds %s, which the collector would replace: in a URL, write %%24 for each $",
				name, replaced.FindString(value)))
		case name == slow && !milliseconds.MatchString(value):
			refused = append(refused, fmt.Errorf("%s=%q is not a number of milliseconds, 0 or more", name, value))
		}
	}
	return errors.Join(refused...)
}
