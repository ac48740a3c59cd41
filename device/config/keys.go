package config

import (
	"reflect"
)

// Keys lists all dotted keys in the order of the file.
func Keys() []string {
	var out []string
	walk(reflect.TypeFor[Config](), "", func(k string, _ []int) { out = append(out, k) }, nil)
	return out
}

func walk(t reflect.Type, prefix string, each func(key string, index []int), index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		key, at := prefix+f.Tag.Get("toml"), append(index[:len(index):len(index)], i)
		if f.Type.Kind() == reflect.Struct {
			walk(f.Type, key+".", each, at)
			continue
		}
		each(key, at)
	}
}

// Get gives the value of a dotted key.
func (c *Config) Get(key string) (any, bool) {
	var v any
	found := false
	walk(reflect.TypeFor[Config](), "", func(k string, index []int) {
		if k == key {
			v, found = reflect.ValueOf(c).Elem().FieldByIndex(index).Interface(), true
		}
	}, nil)
	return v, found
}
